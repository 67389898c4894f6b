/** The project's commands, run as npm runs them. */
import { spawn } from "node:child_process";
import { projectRoot } from "../../scripts/project.ts";

export interface Finished {
  status: number | null;
  stdout: string;
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

/** Starts `scripts/<name>.ts`. */
export function start(name: string, args: string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(process.execPath, ["--import", "tsx", `scripts/${name}.ts`, ...args], {
    cwd: projectRoot,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
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
      child.once("close", (status: number | null) => resolve({ status, ...said })),
    ),
  };
}

/** Runs it to its end. */
export async function run(name: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return await start(name, args, env).finished;
}
