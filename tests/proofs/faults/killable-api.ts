/** The API of a database in a process of its own, so that a test can kill it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Keys } from "local-platform/gateway/keys";
import type { Database } from "../../support/database.ts";

export interface ApiProcess {
  url: string;
  child: ChildProcess;
}

/** @param port 0: a free one */
export async function startApiProcess(db: Database, keys: Keys, port = 0): Promise<ApiProcess> {
  const child = spawn(
    process.execPath,
    ["--import", "tsx", fileURLToPath(new URL("api-process.ts", import.meta.url))],
    {
      env: {
        ...process.env,
        TEST_DATABASE_URL: db.url("authenticator"),
        TEST_KEYS: JSON.stringify(keys),
        TEST_PORT: String(port),
      },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const [url] = (await once(createInterface(child.stdout!), "line")) as [string];
  return { url, child };
}
