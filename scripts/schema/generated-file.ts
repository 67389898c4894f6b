import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { projectRoot } from "../project.ts";

/** Writes a generated file, if that changes it, and says which of the two it was. */
export async function writeGenerated(file: string, text: string): Promise<void> {
  const path = join(projectRoot, file);
  const isCurrent = (await readGenerated(file)) === text;
  if (!isCurrent) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  console.log(`${file} ${isCurrent ? "is up to date" : "written"}`);
}

/** The file as it stands in the project; `undefined` when it was never generated. */
export async function readGenerated(file: string): Promise<string | undefined> {
  return readFile(join(projectRoot, file), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}
