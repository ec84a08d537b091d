#!/usr/bin/env node
// The Solidity compiler of npm (WebAssembly) with the face of the native one, which forge asks for: `--version` and `--standard-json`.
import { readFileSync, writeSync } from 'node:fs';
import solc from 'solc';

const print = (text) => {
  let bytes = Buffer.from(text);
  while (bytes.length > 0) bytes = bytes.subarray(writeSync(1, bytes));
};

if (process.argv.includes('--standard-json')) print(solc.compile(readFileSync(0, 'utf8')));
else print(`solc, the solidity compiler commandline interface\nVersion: ${solc.version().replace(/\.Emscripten.*$/, '')}.Linux.g++\n`);
