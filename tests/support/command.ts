/** The project's commands, run as npm runs them or in this process. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { format } from "node:util";
import { vi } from "vitest";
import { projectRoot } from "../../scripts/project.ts";

const cli = "packages/tokenbook/src/cli.ts";

export interface Finished {
  status: number | null;
  stdout: string;
  /** Without the line that says on which database it is. */
  stderr: string;
}

export interface Running {
  pid: number;
  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void;
  /** Closes its output, as a reader does that has enough, once that much has come. */
  hangUpAfter(bytes: number): void;
  /** Resolves once that is on its stderr. */
  says(text: string): Promise<void>;
  finished: Promise<Finished>;
}

/** Starts `tokenbook <name>`; of a name with a path in it, that script. */
export function start(name: string, args: string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", ...(name.includes("/") ? [name] : [cli, name]), ...args],
    {
      cwd: projectRoot,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const said = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => (said[stream] += text));
  }
  return {
    pid: child.pid!,
    kill: (signal) => void child.kill(signal),
    hangUpAfter: (bytes) => {
      child.stdout.on("data", () => said.stdout.length >= bytes && child.stdout.destroy());
    },
    says: (text) =>
      new Promise((resolve) => {
        const look = () => said.stderr.includes(text) && resolve();
        child.stderr.on("data", look);
        look();
      }),
    finished: new Promise((resolve) =>
      child.once("close", (status: number | null) =>
        resolve({ status, stdout: said.stdout, stderr: withoutTarget(said.stderr) }),
      ),
    ),
  };
}

/** Runs it to its end. */
export async function run(name: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return await start(name, args, env).finished;
}

/**
 * Runs `tokenbook <name>` to its end in this process, which is given its arguments and its environment for that
 * time. All but the start of a process is the same, and that costs half a second: one test of each command does
 * without this. Not for two at once, nor for a command that writes to its output as a stream.
 */
export async function runHere(
  name: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<Finished> {
  const said = { stdout: "", stderr: "" };
  const log = vi.spyOn(console, "log").mockImplementation((...words) => void (said.stdout += line(words)));
  const error = vi
    .spyOn(console, "error")
    .mockImplementation((...words) => void (said.stderr += line(words)));
  const { argv, exitCode } = process;
  const listeners = signals.map((signal) => process.listeners(signal));
  const former = Object.keys(env).map((key) => [key, process.env[key]] as const);
  try {
    process.argv = [process.execPath, cli, name, ...args];
    process.exitCode = undefined;
    Object.assign(process.env, env);
    // a command runs when it is imported: under another name each time
    await import(/* @vite-ignore */ `../../${cli}?run=${randomUUID()}`);
    return {
      status: Number(process.exitCode ?? 0),
      stdout: said.stdout,
      stderr: withoutTarget(said.stderr),
    };
  } finally {
    log.mockRestore();
    error.mockRestore();
    process.argv = argv;
    process.exitCode = exitCode;
    for (const [i, signal] of signals.entries()) {
      const added = process.listeners(signal).filter((listener) => !listeners[i]!.includes(listener));
      for (const listener of added) process.off(signal, listener);
    }
    for (const [key, value] of former) {
      if (value === undefined) delete process.env[key];
      else process.env[key] = value;
    }
  }
}

const withoutTarget = (stderr: string) => stderr.replace(/^On .*\n/, "");
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const line = (words: unknown[]) => `${format(...words)}\n`;
