"use strict";
// Forge drives a compiler by `--version` and `--standard-json`. The npm builds of solc are WebAssembly and have no such
// command line on every version, so this answers both questions for the npm package it is given.
const fs = require("node:fs");

/**
 * Answers the command line in `process.argv` with the compiler of one npm package.
 * @param {string} packageName npm name (or alias) of a solc release
 */
function run(packageName) {
  const compiler = require(packageName);
  if (process.argv.includes("--version")) {
    process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${compiler.version()}\n`);
    return;
  }
  if (!process.argv.includes("--standard-json")) {
    process.stderr.write("usage: solc --version | solc --standard-json < input.json\n");
    process.exitCode = 2;
    return;
  }
  // Forge hands over every source text; an import that is not among them is a mistake, not a file to look for.
  const missing = (path) => ({ error: `not among the given sources: ${path}` });
  process.stdout.write(compiler.compile(fs.readFileSync(0, "utf8"), { import: missing }));
}

module.exports = { run };
