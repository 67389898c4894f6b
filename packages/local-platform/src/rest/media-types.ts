import { refuse } from "./errors.ts";

/** A form in which a result can be sent. */
export interface Format {
  /** How the rows become one text; see read-query.ts. */
  body: "json" | "csv" | "geojson";
  /** One object instead of an array. */
  isSingular: boolean;
  /** Keys whose value is null are left out. */
  stripsNulls: boolean;
  contentType: string;
}

/** A media type: its name in lower case and its parameters. */
interface MediaType {
  name: string;
  parameters: ReadonlyMap<string, string>;
  text: string;
}

const JSON_FORMAT: Format = {
  body: "json",
  isSingular: false,
  stripsNulls: false,
  contentType: "application/json; charset=utf-8",
};

const CSV: Format = { ...JSON_FORMAT, body: "csv", contentType: "text/csv; charset=utf-8" };
const GEOJSON: Format = {
  ...JSON_FORMAT,
  body: "geojson",
  contentType: "application/geo+json; charset=utf-8",
};

/**
 * The first format of an `Accept` header that can be sent.
 *
 * Plans (`application/vnd.pgrst.plan`) can't: hosted projects have them switched off.
 */
export function chooseFormat(accept: string | null): Format {
  if (accept === null || accept === "*/*" || accept === "application/json") return JSON_FORMAT;
  const types = acceptedTypes(accept);
  for (const type of types) {
    const format = formatOf(type);
    if (format !== undefined) return format;
  }
  return refuse(
    406,
    "PGRST107",
    `None of these media types are available: ${types.map(canonical).join(", ")}`,
  );
}

function formatOf({ name, parameters }: MediaType): Format | undefined {
  const stripsNulls = parameters.get("nulls") === "stripped";
  const suffix = `${stripsNulls ? ";nulls=stripped" : ""}; charset=utf-8`;
  switch (name) {
    case "*/*":
    case "application/json":
      return JSON_FORMAT;
    case "text/csv":
      return CSV;
    case "application/geo+json":
      return GEOJSON;
    case "application/vnd.pgrst.object":
    case "application/vnd.pgrst.object+json":
      return {
        body: "json",
        isSingular: true,
        stripsNulls,
        contentType: `application/vnd.pgrst.object+json${suffix}`,
      };
    case "application/vnd.pgrst.array":
    case "application/vnd.pgrst.array+json":
      if (!stripsNulls) return JSON_FORMAT;
      return { ...JSON_FORMAT, stripsNulls, contentType: `application/vnd.pgrst.array+json${suffix}` };
    default:
      return undefined;
  }
}

/** The name of a body's type, in lower case. Without a header it is JSON. */
export function contentTypeOf(header: string | null): string {
  return header === null ? "application/json" : mediaType(header).name;
}

function acceptedTypes(accept: string): MediaType[] {
  const weighted = accept.split(",").map((part) => {
    const [text = "", weight] = part.replaceAll(" ", "").split(";q=", 2);
    const count = (character: string) => text.split(character).length - 1;
    return { text, weight: Number.parseFloat(weight ?? "1") || 0, specificity: count(";") - count("*") };
  });
  weighted.sort((a, b) => b.weight - a.weight || b.specificity - a.specificity);
  return weighted.map(({ text }) => mediaType(text));
}

function mediaType(text: string): MediaType {
  const [name = "", ...rest] = text.split(";").map((part) => part.trim());
  const parameters = new Map<string, string>();
  for (const parameter of rest) {
    const found = /^([\w-]+)\s*=\s*"?([^"]*)"?$/.exec(parameter);
    if (found !== null) parameters.set(found[1]!.toLowerCase(), found[2]!);
  }
  return { name: name.toLowerCase(), parameters, text };
}

/** How PostgREST prints a type that it refuses. */
function canonical({ name, parameters, text }: MediaType): string {
  const plan = /^application\/vnd\.pgrst\.plan(\+json|\+text)?$/.exec(name);
  if (plan === null)
    return /^(text\/(plain|xml)|application\/(octet-stream|openapi\+json|x-www-form-urlencoded))$/.test(name)
      ? name
      : text;
  const known = ["analyze", "verbose", "settings", "buffers", "wal"];
  const asked = parameters.get("options")?.split("|") ?? [];
  const options = known.filter((option) => asked.includes(option));
  const of = `; for="${parameters.get("for") ?? "application/json"}"`;
  const list = options.length > 0 ? `; options=${options.join("|")}` : "";
  return `application/vnd.pgrst.plan${plan[1] ?? "+text"}${of}${list}`;
}
