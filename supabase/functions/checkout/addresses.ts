import { Refusal } from "../_shared/problem.ts";
import { requiredSetting, SettingError } from "../_shared/setting.ts";

/**
 * The addresses that users may be sent to from Stripe's pages: those of the origins in CHECKOUT_ORIGINS, with a
 * space between. Else a link to our own checkout could be made that ends on anybody's page.
 *
 * @returns checks an address, and gives it as browsers write it
 * @throws {SettingError} when the setting is missing, or one of it is no origin
 */
export function allowedAddresses(): (field: string, address: string) => string {
  const origins = requiredSetting("CHECKOUT_ORIGINS").split(/\s+/).map(origin);
  return (field, address) => {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    const isGood =
      url !== undefined &&
      origins.includes(`${url.protocol}//${url.host}`) && // not url.origin, which is a blob:'s too
      url.username === "" &&
      url.password === "" &&
      url.href.length <= 2000;
    if (!isGood) {
      throw new Refusal("invalid_request", {
        field,
        rule: "an address of at most 2000 characters at an origin that the project allows",
      });
    }
    return url.href;
  };
}

function origin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLocal = url?.hostname === "localhost" || url?.hostname === "127.0.0.1";
  const isSafe = url?.protocol === "https:" || (url?.protocol === "http:" && isLocal);
  if (isSafe && url.origin === text.replace(/\/$/, "")) return url.origin;
  throw new SettingError("CHECKOUT_ORIGINS", "is not https origins with a space between");
}
