/*
 * npm run promises [-- P7 …]: tries every promise at length, each with its known-bad variant, and
 * writes docs/PROMISES.md. Takes up to half an hour; says each promise's figure as it is found.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { projectRoot } from "./project.ts";

const named = process.argv.slice(2).flatMap((id) => ["-t", `^${id} `]);
const vitest = spawn(
  process.execPath,
  [
    join(projectRoot, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "tests/proofs/promises",
    "--no-file-parallelism",
    "--reporter=verbose",
    // a part of the promises is no page
    ...(named.length === 0 ? ["--reporter=./tests/proofs/promises/page.ts"] : named),
  ],
  { cwd: projectRoot, stdio: "inherit", env: { ...process.env, PROMISES: "long" } },
);
vitest.once("close", (status) => (process.exitCode = status ?? 1));
