import { setting, SettingError } from "../_shared/setting.ts";

/**
 * Whether events of live mode are expected: what STRIPE_MODE says, and where it says nothing, what the key is of.
 * With neither, live: a payment in test mode costs nothing, and would give tokens all the same.
 */
export function expectsLive(): boolean {
  const isTestKey = /^[a-z]+_test_/.test(setting("STRIPE_SECRET_KEY") ?? "");
  const mode = setting("STRIPE_MODE") ?? (isTestKey ? "test" : "live");
  if (mode !== "live" && mode !== "test") throw new SettingError("STRIPE_MODE", "is neither live nor test");
  return mode === "live";
}
