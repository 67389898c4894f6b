import { useSyncExternalStore } from "react";

const never = () => () => {};

/**
 * The language of this browser, as `Intl` takes it: a browser may name what is none, nothing at all or the system's
 * `en-US@posix`, and `Intl` throws at it. English then, and where there is no browser.
 *
 * @example
 * ```ts
 * const numbers = new Intl.NumberFormat(languageHere());
 * ```
 */
export function languageHere(): string {
  try {
    return Intl.getCanonicalLocales(navigator.language)[0] ?? "en";
  } catch {
    return "en";
  }
}

/** How numbers and times are written. What a server writes, the page writes too at first, and then in its own time zone. */
export function useFormats(locale: string | undefined) {
  const isHere = useSyncExternalStore(
    never,
    () => true,
    () => false,
  );
  const language = locale ?? (isHere ? languageHere() : "en");
  const timeZone = isHere ? undefined : "UTC";
  const formats = (options: Intl.DateTimeFormatOptions) => {
    const format = new Intl.DateTimeFormat(language, options);
    return (moment: string) => format.format(new Date(moment));
  };
  const numbers = new Intl.NumberFormat(language);
  return {
    tokens: (count: number) => numbers.format(count),
    date: formats({ dateStyle: "medium", timeZone }),
    /** A bucket of a report begins and ends in UTC. */
    hour: formats({ dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }),
    day: formats({ dateStyle: "medium", timeZone: "UTC" }),
    price: (cents: number, currency: string) => {
      const format = new Intl.NumberFormat(language, { style: "currency", currency });
      return format.format(cents / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
    },
  };
}
