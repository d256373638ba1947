// Loads the model named first in llama.cpp's library through node-llama-cpp and generates some tokens: {"generated": N}.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

// The package lies where the test says, not beside this file.
const require = createRequire(process.env.BALLAST_NODE_LLAMA + "/");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(require.resolve("node-llama-cpp")));

const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath: process.argv[2]});
const context = await model.createContext({contextSize: 128, threads: 1});
const prompt = model.tokenize("hello world");
let generated = 0;
for await (const _ of context.getSequence().evaluate(prompt, {temperature: 0.8, seed: 1})) {
  if (++generated >= 8) break;
}
console.log(JSON.stringify({prompt: prompt.length, generated}));
process.exit(0);
