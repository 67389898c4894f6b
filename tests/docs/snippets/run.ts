/** Runs what a reader would paste, each snippet in plain Node or a shell, against a stack. */
import { execFile } from "node:child_process";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { Stack } from "../../functions/stack.ts";
import type { Folder } from "./folder.ts";

/** What a file's snippet asked of the API: what was refused, and each answer. */
export interface Ran {
  refused: string[];
  answers: unknown[];
}

/** What a snippet finds in its environment. */
export const environmentOf = (stack: Stack) => ({
  ...process.env,
  SUPABASE_URL: stack.url,
  SUPABASE_SECRET_KEY: stack.keys.secretKey,
  SUPABASE_PUBLISHABLE_KEY: stack.keys.publishableKey,
  DATABASE_URL: stack.db.url("postgres"),
  TOKEN_WEBHOOK_SECRET_APP: "whsec_c2VjcmV0",
});

/** Runs a file in plain Node; rejects if it throws, or if the API refuses something. */
export async function runFile(file: string, folder: Folder, stack: Stack): Promise<{ stdout: string }> {
  const watched = `
    ${watching}
    await import(${JSON.stringify(pathToFileURL(file).href)});
    if (refused.length > 0) console.error(refused.join("\\n"));
    process.exit(refused.length);`;
  return await node(watched, folder, stack);
}

/** Runs files one after another in one process of plain Node, and says of each what became of it. */
export async function runFiles(files: readonly string[], folder: Folder, stack: Stack): Promise<Ran[]> {
  const watched = `
    ${watching}
    await import("./snippets/names.js"); // who is signed in
    const all = [];
    for (const file of ${JSON.stringify(files.map((file) => pathToFileURL(file).href))}) {
      refused.length = answers.length = 0;
      await import(file).catch((error) => refused.push(String(error)));
      all.push({ refused: [...refused], answers: [...answers] });
    }
    process.stdout.write("\\n" + JSON.stringify(all), () => process.exit(0));`;
  const { stdout } = await node(watched, folder, stack);
  return JSON.parse(stdout.slice(stdout.lastIndexOf("\n"))) as Ran[];
}

/** The client makes values of refusals, and a snippet need not look at them. */
const watching = `
    globalThis.WebSocket ??= (await import("ws")).default; // as browsers have it
    const { fetch } = globalThis;
    const [refused, answers] = [[], []];
    globalThis.fetch = async (...request) => {
      const response = await fetch(...request);
      const text = await response.clone().text();
      if (!response.ok) refused.push(request[0] + " answers " + response.status + " " + text);
      else if (String(request[0]).includes("/rest/v1/")) answers.push(JSON.parse(text));
      return response;
    };`;

const node = (script: string, folder: Folder, stack: Stack) =>
  promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
    cwd: folder.path,
    env: environmentOf(stack),
    maxBuffer: 64 * 1024 * 1024,
  });

/** Runs a request by curl, and says what was answered and with which status. */
export async function runCurl(
  text: string,
  folder: Folder,
  stack: Stack,
  tokens: Record<string, string>,
): Promise<{ status: number; body: string }> {
  const { stdout } = await promisify(execFile)("bash", ["-c", `${text.trimEnd()} -sS -w '\\n%{http_code}'`], {
    cwd: folder.path,
    env: { ...environmentOf(stack), KEY: stack.keys.publishableKey, ...tokens },
  });
  const end = stdout.lastIndexOf("\n");
  return { status: Number(stdout.slice(end + 1)), body: stdout.slice(0, end) };
}
