/**
 * A setting of the project's functions: `supabase secrets set`, or supabase/functions/.env locally.
 *
 * @returns undefined when it is unset or blank: a blank secret is no secret
 */
export function setting(name: string): string | undefined {
  const value = Deno.env.get(name)?.trim();
  return value === "" ? undefined : value;
}

/** A setting is missing, or is not what it must be. Says which, and nothing of what was set. */
export class SettingError extends Error {
  override name = "SettingError";
  readonly setting: string;

  constructor(name: string, fault: string) {
    super(`${name} ${fault}: see supabase/functions/.env.example`);
    this.setting = name;
  }
}

/**
 * A setting that there must be.
 *
 * @throws {SettingError} so that the caller gets a 500 and the log the name. Never a default: a webhook
 *   that goes on without its secret takes everyone's word.
 */
export function requiredSetting(name: string): string {
  const value = setting(name);
  if (value === undefined) throw new SettingError(name, "is not set");
  return value;
}
