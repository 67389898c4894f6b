import { execFile } from "node:child_process";
import { projectRoot } from "../project.ts";

/**
 * A generated text as the project's formatter would leave it, so that `npm run check` and the
 * drift tests agree about it.
 *
 * @param path - where it will stand, relative to the project: says which language it is.
 */
export function formatted(path: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      "node_modules/.bin/oxfmt",
      [`--stdin-filepath=${path}`],
      { cwd: projectRoot, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout) => (error ? reject(error) : resolve(stdout)),
    );
    child.stdin?.end(text);
  });
}
