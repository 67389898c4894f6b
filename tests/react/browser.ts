/** A real browser: the Chromium of this machine. */
import { existsSync } from "node:fs";
import { type Browser, chromium as ofPlaywright } from "playwright-core";

const usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Where it is: as CHROMIUM says (empty: nowhere), where a system has it, or where `npx playwright-core install chromium` puts it. */
export const chromium = pathOfChromium();
if (chromium === undefined)
  console.log("NOT TRIED IN A BROWSER: there is no Chromium; say where it is: CHROMIUM=…");

export async function startBrowser(): Promise<Browser> {
  return await ofPlaywright.launch({ executablePath: chromium! });
}

function pathOfChromium(): string | undefined {
  const given = process.env["CHROMIUM"];
  if (given !== undefined) return given === "" ? undefined : given;
  return [...usual, ofPlaywright.executablePath()].find((path) => existsSync(path));
}
