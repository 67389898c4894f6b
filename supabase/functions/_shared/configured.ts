import { Refusal } from "./problem.ts";
import { SettingError } from "./setting.ts";

/**
 * What settings are read for. A caller who may call the function is told which one is missing, and need not
 * look into the log.
 *
 * @throws {Refusal} not_configured, with the name of the setting
 */
export function configured<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    throw new Refusal("not_configured", { setting: error.setting }, { cause: error });
  }
}
