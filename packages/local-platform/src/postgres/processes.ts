import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** A process that can be recognised later, when its number may belong to another. */
export interface ProcessRecord {
  pid: number;
  /** When it started, in whatever form the system says it. */
  birth: string;
}

/** Describes a running process so that {@link isRunning} finds it again; undefined when it is gone. */
export function recordProcess(pid: number): ProcessRecord | undefined {
  const birth = birthOf(pid);
  return birth === undefined ? undefined : { pid, birth };
}

/** Whether this very process still runs (not another one with its number). */
export function isRunning(record: ProcessRecord): boolean {
  return birthOf(record.pid) === record.birth;
}

/** The command line of a process, or undefined when there is none or it can't be seen. */
export function commandLine(pid: number): string | undefined {
  if (process.platform === "linux") {
    return read(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ");
  }
  return ps(pid, "command");
}

/**
 * Ends a process: asks with `signal`, waits, then insists with SIGKILL.
 *
 * @returns when it is gone.
 */
export async function endProcess(
  record: ProcessRecord,
  signal: NodeJS.Signals,
  patienceMs: number,
): Promise<void> {
  for (const attempt of [signal, "SIGKILL"] as const) {
    try {
      process.kill(record.pid, attempt);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ESRCH") return;
      throw error;
    }
    const deadline = Date.now() + patienceMs;
    while (Date.now() < deadline) {
      if (!isRunning(record)) return;
      await sleep(20);
    }
  }
}

function birthOf(pid: number): string | undefined {
  if (process.platform !== "linux") return ps(pid, "lstart");
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses and may hold spaces: count from its end.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === "Z" ? undefined : fields[18];
}

function ps(pid: number, field: string): string | undefined {
  const answer = spawnSync("ps", ["-o", `${field}=`, "-p", String(pid)], { encoding: "utf8" });
  return answer.stdout?.trim() || undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
