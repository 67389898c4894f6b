/** Where `npm start` serves the console: where Supabase has its Studio, or beside an API that was put elsewhere. */
import type { Settings } from "local-platform/project/settings";

export const consolePortVariable = "TOKENBOOK_CONSOLE_PORT";

export function consolePort(
  { apiPort }: Pick<Settings, "apiPort">,
  env: NodeJS.ProcessEnv = process.env,
): number {
  const given = env[consolePortVariable];
  if (given === undefined) return apiPort === 54_321 ? 54_323 : apiPort + 2;
  const port = Number(given);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Error(`${consolePortVariable} is ${JSON.stringify(given)}: not a port between 1 and 65535.`);
  }
  return port;
}
