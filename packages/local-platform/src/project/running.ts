import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateDirOf } from "./project.ts";
import type { Project } from "./project.ts";

/**
 * The password of every role that can log in, as in Supabase's own local stack. No secret: the server
 * listens on 127.0.0.1 only.
 */
export const localPassword = "postgres";

/** What runs of a project. */
export interface Running {
  /** The process that started it and ends it. */
  pid: number;
  apiUrl: string;
  dbPort: number;
}

/** By which name a project's Postgres says whose it is: `show cluster_name`. */
export function clusterOf({ root }: Project): string {
  return `local-platform ${createHash("sha256").update(realpathSync(root)).digest("hex").slice(0, 12)}`;
}

const fileOf = (project: Project) => join(stateDirOf(project), "running.json");

/** Writes down what runs, so that commands of the same project find it on whatever ports. */
export function recordRunning(project: Project, running: Omit<Running, "pid">): void {
  mkdirSync(stateDirOf(project), { recursive: true });
  writeFileSync(fileOf(project), `${JSON.stringify({ pid: process.pid, ...running })}\n`);
}

/** What was written down, while the process that did lives. */
export function readRunning(project: Project): Running | undefined {
  try {
    const running = JSON.parse(readFileSync(fileOf(project), "utf8")) as Running;
    process.kill(running.pid, 0);
    return running;
  } catch {
    return undefined; // none was written, or it has ended
  }
}
