import { createWriteStream } from "node:fs";
import { mkdir, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Failure } from "local-platform/terminal/failure";

/**
 * Writes a file whole or not at all: beside it first, under a name of its own, and moved to its place
 * when everything is on disk. What was there before stays until then. Its folder is made if there is none.
 *
 * @param signal gives up; nothing is left behind.
 * @throws Failure when nothing can be written there.
 */
export async function writeWholeFile(
  path: string,
  texts: AsyncIterable<string>,
  signal?: AbortSignal,
): Promise<void> {
  const place = await placeOf(path);
  const temporary = `${place}.${process.pid}.part`;
  try {
    await mkdir(dirname(place), { recursive: true });
  } catch (error) {
    throw new Failure(`${path} cannot be written: ${(error as NodeJS.ErrnoException).code}.`);
  }
  try {
    // flush: the name must not be there before the bytes are, whatever happens to the machine
    const sink = createWriteStream(temporary, { flags: "wx", flush: true });
    await pipeline(Readable.from(texts), sink, { signal });
    await rename(temporary, place);
  } catch (error) {
    await rm(temporary, { force: true });
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    const isOfDisk = syscall !== undefined && ["open", "write", "fsync", "rename"].includes(syscall);
    throw isOfDisk ? new Failure(`${path} cannot be written: ${code ?? message}.`) : error;
  }
}

/** Where it goes: through a link to what is linked, and never in the place of a device or a folder. */
async function placeOf(path: string): Promise<string> {
  let place: string;
  try {
    place = await realpath(path);
  } catch {
    return path; // a new file
  }
  if (!(await stat(place)).isFile()) throw new Failure(`${path} is there, and is no file.`);
  return place;
}
