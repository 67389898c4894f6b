import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "local-platform/terminal/failure";
import { command, wholeNumber } from "../command.ts";
import { isAddress } from "../console/address.ts";
import { type ConsoleConfig, consoleFolder, serveConsole } from "../console/serve.ts";
import { isSecretKey } from "../console/secret-key.ts";
import { stopsOnSignal } from "../terminal/stop.ts";

/** `tokenbook console`: the page, for any project. */
export const consoleCommand = command(
  "console",
  "Serves the page where users see their balance.",
  `The page asks the project's public API as any frontend does, with the rights of the user who signs in to it: it needs no
database and no secret, and is served to this machine alone. To have it elsewhere, put the files of the folder that --files
names on a static host, with a config.json of url and key (and reads) beside them, and have every path answer index.html.`,
)
  .option("--url <address>", "the address of the project's API; or SUPABASE_URL in the environment")
  .option("--key <key>", "its publishable key, never a secret one; or SUPABASE_PUBLISHABLE_KEY")
  .option("--reads <address>", "of a read replica's API, for reports and sweeps; or SUPABASE_READS_URL")
  .option("--port <port>", "of 127.0.0.1; 0 is any that is free", wholeNumber(0, "a port", 65_535), 54_323)
  .option("--files", "says in which folder the files are, and ends")
  .option("--json", "for machines")
  .action(async ({ files, port, json, ...where }) => {
    if (files) return console.log(json ? JSON.stringify({ files: consoleFolder() }) : consoleFolder());
    const config = readConfig(where);
    if (!existsSync(join(consoleFolder(), "index.html"))) {
      throw new Failure(
        `The page is not in ${consoleFolder()}. In the repository \`npm run build --workspace console\` makes it.`,
      );
    }
    const stopped = stopsOnSignal();
    const served = await serveConsole(config, port).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE" && error.code !== "EACCES") throw error;
      throw new Failure(`Port ${port} cannot be had; choose another: --port 0 takes any that is free.`);
    });
    console.log(json ? JSON.stringify({ url: served.url }) : `${served.url}   (Ctrl-C ends it)`);
    await once(stopped, "abort");
    await served.close();
  });

function readConfig(
  { url, key, reads }: Partial<ConsoleConfig>,
  env: NodeJS.ProcessEnv = process.env,
): ConsoleConfig {
  // empty counts as not set: that is what a variable left blank in an .env file is
  const config = {
    url: url ?? (env["SUPABASE_URL"] || undefined),
    key: key ?? (env["SUPABASE_PUBLISHABLE_KEY"] || undefined),
    reads: reads ?? (env["SUPABASE_READS_URL"] || undefined),
  };
  if (config.url === undefined || config.key === undefined) {
    throw new Failure("Which project? --url <address of its API> --key <its publishable key>");
  }
  for (const [name, address] of Object.entries({ url: config.url, reads: config.reads })) {
    if (address !== undefined && !isAddress(address)) {
      throw new Failure(`--${name} is an address, as https://abcdefghijklmnopqrst.supabase.co: ${address}`);
    }
  }
  if (isSecretKey(config.key)) {
    throw new Failure(
      "That is a secret key, and every browser would be given it. The publishable one belongs here.",
    );
  }
  return { url: config.url, key: config.key, reads: config.reads };
}
