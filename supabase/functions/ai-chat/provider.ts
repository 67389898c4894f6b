import { requiredSetting, setting } from "../_shared/setting.ts";
import { trimmedEnd } from "../_shared/trimmed.ts";

/** The server that has the models, from the function's settings. */
export interface Provider {
  /** Without a slash at its end. */
  baseUrl: string;
  apiKey: string | undefined;
  /** The models that may be asked for; undefined: any. */
  models: string[] | undefined;
  /** The most tokens of an answer for which the request says nothing. */
  defaultMaxTokens: number;
  /** How long a call may take. */
  timeoutSeconds: number;
}

/** @throws an Error that names the setting which is missing or is not what it must be */
export function providerSettings(): Provider {
  return {
    baseUrl: trimmedEnd(requiredSetting("AI_BASE_URL"), "/"),
    apiKey: setting("AI_API_KEY"),
    models: setting("AI_MODELS")
      ?.split(",")
      .map((model) => model.trim()),
    defaultMaxTokens: wholeSetting("AI_DEFAULT_MAX_TOKENS", 1_024, 1_000_000),
    timeoutSeconds: wholeSetting("AI_TIMEOUT_SECONDS", 120, 3_600),
  };
}

function wholeSetting(name: string, otherwise: number, most: number): number {
  const value = Number(setting(name) ?? otherwise);
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw new Error(`${name} must be a whole number from 1 to ${most}`);
  }
  return value;
}
