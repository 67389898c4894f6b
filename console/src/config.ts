import { isAddress } from "../../packages/tokenbook/src/console/address.ts";
import { isSecretKey } from "../../packages/tokenbook/src/console/secret-key.ts";

/** Which project the page is of. */
export interface Config {
  /** The address of the project's API. */
  url: string;
  /** Its publishable key: made to be public. Never the secret one. */
  key: string;
  /** The address of a read replica's API, or of the load balancer in front of it: for reports and sweeps. */
  reads?: string;
}

/**
 * Read when the page starts, and not built in: the same files serve any project. The server that serves them answers
 * `/config.json`; where they are deployed as static files, that is one of them.
 */
export async function readConfig(): Promise<Config> {
  const answer = await fetch("/config.json");
  // a static host may answer everything that it does not have with the page itself
  const config: unknown = await answer.json().catch(() => null);
  if (!answer.ok || !isConfig(config)) {
    throw new Error(
      'There is no /config.json with the project\'s address and publishable key: { "url": "https://…", "key": "sb_publishable_…" }.',
    );
  }
  // supabase-js in a page throws "Forbidden use of secret API key" at some of them; this says what to do
  if (isSecretKey(config.key)) {
    throw new Error(
      "/config.json has the secret key. Put the publishable one there, and make a new secret key.",
    );
  }
  if (config.reads !== undefined && (typeof config.reads !== "string" || !isAddress(config.reads))) {
    throw new Error(
      '"reads" in /config.json is no address. Put that of a read replica\'s API there, as https://…, or leave it out.',
    );
  }
  return config;
}

function isConfig(it: unknown): it is Config {
  const { url, key } = (it ?? {}) as Partial<Config>;
  return typeof url === "string" && isAddress(url) && typeof key === "string" && key !== "";
}
