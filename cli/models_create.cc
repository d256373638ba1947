// ballast models create.
#include <chrono>
#include <memory>

#include <fmt/format.h>

#include "ballast/v1/model.pb.h"
#include "cli/error_text.h"
#include "cli/models.h"
#include "cli/render/model_fields.h"
#include "cli/render/transfer_progress.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/config/field_rules.h"
#include "common/gguf/model_description.h"
#include "common/gguf/synthetic_model.h"

namespace ballast::cli {
namespace {

struct CreateFlags {
  std::string shape;
  std::string quant;
  std::string file;
  std::string seed;
  std::string threads;
  bool plan = false;
  bool keep_partial = false;
  std::string output;
};

absl::StatusOr<unsigned> ParseThreads(const std::string& text) {
  v1::ModelLoad load;
  if (!text.empty()) BALLAST_RETURN_IF_ERROR(SetFromFlag(&load, "threads", "--threads", text));
  return load.threads();
}

absl::StatusOr<std::uint64_t> ParseSeed(const std::string& text) {
  v1::SyntheticModel model;
  config::ApplyDefaults(&model);
  if (!text.empty()) BALLAST_RETURN_IF_ERROR(SetFromFlag(&model, "seed", "--seed", text));
  return model.seed();
}

absl::Status Write(const gguf::SyntheticModel& model, const CreateFlags& flags, unsigned threads, Context& context) {
  std::stop_source stop;
  const Interrupts::Scope scope(context.interrupts, [&stop] { stop.request_stop(); });
  const std::chrono::nanoseconds begun = context.clock.Monotonic();
  absl::StatusOr<gguf::WriteResult> written;
  {
    TransferProgress progress(context, fmt::format("writing {}", flags.file), model.file_size_bytes());
    written = gguf::WriteSyntheticModel(
        model, flags.file,
        {.threads = threads,
         .keep_partial = flags.keep_partial,
         .stop = stop.get_token(),
         .progress = [&progress](std::uint64_t done, std::uint64_t /*total*/) { progress.Update(done); }});
  }
  if (absl::IsAlreadyExists(written.status())) {
    // A mistake on the command line, as below.
    return WithNextStep(absl::InvalidArgumentError(written.status().message()), "another name, or remove it first");
  }
  if (absl::IsNotFound(written.status()) || absl::IsPermissionDenied(written.status())) {
    // A mistake on the command line.
    return WithNextStep(absl::InvalidArgumentError(
                            fmt::format("cannot write {}: {}", flags.file, std::string(written.status().message()))),
                        absl::IsNotFound(written.status()) ? "make the directory first, or give another -o FILE"
                                                           : "a directory that this user can write in");
  }
  if (absl::IsResourceExhausted(written.status())) return WithNextStep(written.status(), "free space, or another disk");
  BALLAST_RETURN_IF_ERROR(written.status());
  if (written->written_bytes == 0) {
    context.err << fmt::format("{} was there already, complete\n", flags.file);
    return absl::OkStatus();
  }
  const std::chrono::nanoseconds took = context.clock.Monotonic() - begun;
  const double seconds = std::max(1e-9, base::ToSeconds(took));
  context.err << fmt::format(
      "{}: {} written in {} ({}/s){}\n", flags.file, base::FormatBytes(written->written_bytes),
      base::FormatDuration(took),
      base::FormatBytes(static_cast<std::uint64_t>(static_cast<double>(written->written_bytes) / seconds)),
      written->resumed_bytes > 0 ? fmt::format(", {} were there", base::FormatBytes(written->resumed_bytes)) : "");
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> RunCreate(const CreateFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.shape.empty(), "--shape", "--shape with one of " + ShapeNames()));
  BALLAST_ASSIGN_OR_RETURN(const gguf::ModelShape shape, ParseShape(flags.shape));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(flags.plan || !flags.quant.empty(), "--quant", "--quant with one of " + LevelNames()));
  BALLAST_ASSIGN_OR_RETURN(const auto levels, ParseLevels(flags.quant.empty() ? "all" : flags.quant));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(flags.plan || !flags.file.empty(), "the file to write", "-o FILE, or --plan for the sizes"));
  if (!flags.plan && levels.size() > 1) {
    return WithNextStep(absl::InvalidArgumentError("--quant: one level a file; several are for --plan"),
                        "--quant Q4_K_M");
  }
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t seed, ParseSeed(flags.seed));
  BALLAST_ASSIGN_OR_RETURN(const unsigned threads, ParseThreads(flags.threads));
  v1::CreatedModels created;
  for (const gguf::QuantLevel level : levels) {
    if (!flags.plan) {
      BALLAST_RETURN_IF_ERROR(Write(gguf::SyntheticModel(shape, level, seed), flags, threads, context));
    }
    *created.add_models() = gguf::DescribeSyntheticModel(shape, level);
  }
  if (output == OutputFormat::kJson) {
    PrintJson(created, context);
  } else {
    PrintRecords(created.models(), ModelFields(), output, context);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddModelsCreateCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<CreateFlags>();
  CLI::App* command =
      tree.Add(group, "create", "Make a synthetic model: tensors, types and sizes of a real one, random weights.",
               {"ballast models create --shape qwen2.5-1.5b --quant Q4_K_M -o model.gguf",
                "ballast models create --shape qwen2.5-7b --plan",
                "ballast models create --shape tiny --quant Q8_0 -o t.gguf --seed 7"},
               [flags](Context& context) { return RunCreate(*flags, context); });
  command->add_option("--shape", flags->shape, "One of " + ShapeNames())->type_name("SHAPE");
  command->add_option("--quant", flags->quant, fmt::format("One of {}; with --plan several or all", LevelNames()))
      ->type_name("LEVEL");
  command->add_option("-o,--file", flags->file, "Where to write it")->type_name("FILE");
  command->add_option("--seed", flags->seed, "What the weights are drawn from (default 1)")->type_name("N");
  command->add_option("--threads", flags->threads, "Threads that make weights (default: one a processor)")
      ->type_name("N");
  command->add_flag("--plan", flags->plan, "Only print the sizes; write nothing");
  command->add_flag("--keep-partial", flags->keep_partial,
                    "When interrupted, leave FILE.partial for the next call to carry on");
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli
