import { refuse } from "./errors.ts";

/** What a request's `Prefer` headers ask for (RFC 7240), as far as PostgREST knows it. */
export interface Preferences {
  resolution?: "merge-duplicates" | "ignore-duplicates" | undefined;
  return?: "representation" | "minimal" | "headers-only" | undefined;
  count?: "exact" | "planned" | "estimated" | undefined;
  missing?: "default" | "null" | undefined;
  handling?: "strict" | "lenient" | undefined;
  /** A time zone that exists. */
  timezone?: string | undefined;
  maxAffected?: number | undefined;
  /** What nobody knows; refused with `handling=strict`. */
  unknown: readonly string[];
}

const CHOICES = {
  resolution: ["merge-duplicates", "ignore-duplicates"],
  return: ["representation", "minimal", "headers-only"],
  count: ["exact", "planned", "estimated"],
  // Hosted projects commit whatever is asked for.
  tx: ["commit", "rollback"],
  missing: ["default", "null"],
  handling: ["strict", "lenient"],
};

const NONE: Preferences = { unknown: [] };

/** Reads a `Prefer` header. Of several values of one preference the first that can be meant counts. */
export function readPreferences(header: string | null): Preferences {
  if (header === null) return NONE;
  const found: Record<string, string | number> = {};
  const unknown: string[] = [];
  for (const text of header.split(",").map((part) => part.trim())) {
    const [name, value] = split(text);
    if (name === "max-affected") {
      if (/^-?\d+$/.test(value)) found["maxAffected"] ??= Number(value);
    } else if (
      name === "timezone"
        ? isTimezone(value)
        : Object.hasOwn(CHOICES, name) && CHOICES[name as keyof typeof CHOICES].includes(value)
    ) {
      found[name] ??= value;
    } else unknown.push(text);
  }
  return { ...found, unknown };
}

/** Refuses preferences that nobody knows, if the request wants that. */
export function refuseUnknown({ handling, unknown }: Preferences): void {
  if (handling !== "strict" || unknown.length === 0) return;
  refuse(400, "PGRST122", "Invalid preferences given with handling=strict", {
    details: `Invalid preferences: ${unknown.join(", ")}`,
  });
}

/** Which preferences mean something to a request; `count`, `handling` and `timezone` always do. */
export interface Relevant {
  resolution?: boolean;
  missing?: boolean;
  return?: boolean;
  maxAffected?: boolean;
}

/** The value of `Preference-Applied`, if there is one. */
export function appliedPreferences(preferences: Preferences, relevant: Relevant): string | undefined {
  if (preferences === NONE) return undefined;
  const { resolution, missing, count, handling, timezone, maxAffected } = preferences;
  const applied = {
    resolution: relevant.resolution === true ? resolution : undefined,
    missing: relevant.missing === true ? missing : undefined,
    return: relevant.return === true ? preferences.return : undefined,
    count,
    handling,
    timezone,
    "max-affected": relevant.maxAffected === true && handling === "strict" ? maxAffected : undefined,
  };
  const parts = Object.entries(applied).filter(([, value]) => value !== undefined);
  return parts.map(([name, value]) => `${name}=${value}`).join(", ") || undefined;
}

function split(text: string): [name: string, value: string] {
  const at = text.indexOf("=");
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions();
    return true;
  } catch {
    return false;
  }
}
