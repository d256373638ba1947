// The corpus of the fuzzer, in every run of the tests: what it holds the reader to stays true without the fuzzer.
#include "tests/fuzz/gguf_corpus.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/fuzz/gguf_input.h"

namespace ballast::gguf {
namespace {

TEST(GgufCorpusTest, TheReaderKeepsItsPromisesForEachFile) {
  std::set<std::string> names;
  std::size_t accepted = 0;
  for (const auto& [name, bytes] : GgufCorpus()) {
    SCOPED_TRACE(name);
    EXPECT_TRUE(names.insert(name).second);
    TryModelBytes(bytes);
    MemoryByteSource source(bytes);
    if (ParseModelFile(source).ok()) ++accepted;
  }
  // Both ends are of use to the fuzzer.
  EXPECT_GE(accepted, 10U);
  EXPECT_GE(names.size() - accepted, 10U);
}

}  // namespace
}  // namespace ballast::gguf
