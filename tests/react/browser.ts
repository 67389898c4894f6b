/** A real browser: the Chromium of this machine. */
import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright-core";

const usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Where it is: as CHROMIUM says (empty: nowhere), where a system has it, or where `npx playwright-core install chromium` puts it. */
export function chromiumPath(): string | undefined {
  const given = process.env["CHROMIUM"];
  if (given !== undefined) return given === "" ? undefined : given;
  return [...usual, chromium.executablePath()].find((path) => existsSync(path));
}

export async function startBrowser(): Promise<Browser> {
  return await chromium.launch({ executablePath: chromiumPath()! });
}
