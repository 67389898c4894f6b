import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Failure } from "local-platform/terminal/failure";
import { digestAfter } from "./checkpoint.ts";

/*
 * A checkpoint in a file: its lines as the database gave them, and a last one, `digest <64 hex digits>`, which
 * is what is to be kept apart from it.
 */
const lastLine = /^digest ([0-9a-f]{64})$/;

/** The last line of the file. */
export const digestLine = (digest: string): string => `digest ${digest}\n`;

/** What a checkpoint's file says of itself. */
export interface CheckpointFile {
  digest: string;
  users: number;
  /** Its lines, from the first, without the digest. */
  lines(): AsyncIterable<string>;
}

/**
 * Opens a checkpoint that was written by `tokenbook checkpoint`.
 *
 * @param kept the digest as it was kept elsewhere; nothing else says that the file is the one of then.
 * @throws Failure when it cannot be read, is not whole, was changed, or is not the one of that digest.
 */
export async function openCheckpoint(path: string, kept: string | undefined): Promise<CheckpointFile> {
  let said: string | undefined;
  let digest: string | undefined;
  let users = -1; // the first line is nobody's
  for await (const line of linesOf(path)) {
    if (said !== undefined) throw new Failure(`${path} is no checkpoint: it goes on after its digest.`);
    said = lastLine.exec(line)?.[1];
    if (said !== undefined) continue;
    digest = digestAfter(digest, line);
    users++;
  }
  if (said === undefined || digest === undefined) {
    throw new Failure(`${path} is no checkpoint, or not a whole one: it does not end with its digest.`);
  }
  if (digest !== said)
    throw new Failure(`${path} was changed: it says ${said}, and its lines make ${digest}.`);
  if (kept !== undefined && kept.toLowerCase() !== digest) {
    throw new Failure(`${path} is another checkpoint than the one that was kept: its digest is ${digest}.`);
  }
  return {
    digest,
    users,
    async *lines() {
      for await (const line of linesOf(path)) if (!lastLine.test(line)) yield line;
    },
  };
}

async function* linesOf(path: string): AsyncGenerator<string, void, undefined> {
  try {
    yield* createInterface({ input: createReadStream(path, "utf8"), crlfDelay: Infinity });
  } catch (error) {
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    throw syscall === undefined ? error : new Failure(`${path} cannot be read: ${code ?? message}.`);
  }
}
