import type { Caller } from "../gateway/caller.ts";

/** A setting of one transaction: name and value, as `set_config(name, value, true)` takes them. */
export type Setting = readonly [name: string, value: string];

/** The settings that roles carry (`alter role anon set statement_timeout = '3s'`), by role. */
export type RoleSettings = ReadonlyMap<string, readonly Setting[]>;

/** Schemas that a request's unqualified names are looked up in, as the API of a hosted project has them. */
const SEARCH_PATH = "public, extensions";

/**
 * Headers that functions may read in `request.headers`, minus what opens doors: a function that logs
 * its headers would otherwise put keys and tokens into the database's log. (PostgREST passes these too.)
 */
const SECRET_HEADERS = new Set(["authorization", "apikey", "cookie"]);

/**
 * Everything that PostgREST sets at the start of a request's transaction.
 *
 * `role` comes last among the settings of rights: the settings before it are made by the
 * `authenticator`, and a role that it is no member of fails the request.
 *
 * @param path below /rest/v1, such as `/rpc/add_up`.
 * @param timezone as `Prefer` asks for it.
 */
export function requestSettings(
  caller: Caller,
  request: Request,
  path: string,
  roleSettings: RoleSettings,
  timezone?: string,
): Setting[] {
  const headers: Record<string, string> = {};
  request.headers.forEach((value, name) => {
    if (!SECRET_HEADERS.has(name)) headers[name] = value;
  });
  const settings: Setting[] = [
    ["search_path", SEARCH_PATH],
    ["request.method", request.method],
    ["request.path", path],
    ["request.headers", JSON.stringify(headers)],
    ["request.jwt.claims", JSON.stringify(caller.claims)],
    ["response.status", ""],
    ["response.headers", ""],
    // A role's own settings apply at login only, and nobody logs in as anon.
    ...(roleSettings.get(caller.role) ?? []),
    ["role", caller.role],
  ];
  if (timezone !== undefined) settings.push(["timezone", timezone]);
  return settings;
}
