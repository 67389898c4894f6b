/** An example call as text: SQL, TypeScript and curl, from the same arguments. */
import type { By, Example, ExampleCall, Json } from "./example-calls.ts";

export const isCall = (example: Example): example is ExampleCall => "args" in example;

/** The longest line before a call is set with an argument a line. */
const width = 100;

/** As it is pasted into psql or Studio. */
export function inSql(name: string, example: Example, isTable: boolean): string {
  if (!isCall(example)) {
    const conditions = Object.entries(example.where).map(
      ([column, value]) => `t.${column} = ${literal(value)}`,
    );
    return `select t.${name} from ${example.of} t where ${conditions.join(" and ")};`;
  }
  const args = Object.entries(example.args).map(([key, value]) => `${key} => ${literal(value)}`);
  return `select ${isTable ? "* from " : ""}${call(name, args)};`;
}

/** With supabase-js, by the client of whom calls. */
export function inTypeScript(name: string, example: Example): string {
  const client = clients[example.by];
  if (!isCall(example)) {
    const filters = Object.entries(example.where).map(
      ([column, value]) => `.eq("${column}", ${script(value)})`,
    );
    return `const { data, error } = await ${client}.from("${example.of}").select("${name}")\n  ${filters.join("")};`;
  }
  const args = Object.entries(example.args).map(([key, value]) => `${key}: ${script(value)}`);
  const begin = `const { data, error } = await ${client}.rpc("${name}"`;
  if (args.length === 0) return `${begin});`;
  const short = `${begin}, { ${args.join(", ")} });`;
  if (short.length <= width) return short;
  const lines = Object.entries(example.args).map(([key, value]) => `  ${key}: ${script(value, "  ")},\n`);
  return `${begin}, {\n${lines.join("")}});`;
}

/** From a shell. */
export function inCurl(name: string, example: Example): string {
  const key = example.by === "server" ? "$SUPABASE_SECRET_KEY" : "$SUPABASE_PUBLISHABLE_KEY";
  const apikey = `-H "apikey: ${key}"`;
  const token =
    example.by === "server" ? "" : ` -H "Authorization: Bearer $${example.by.toUpperCase()}_TOKEN"`;
  if (!isCall(example)) {
    const filters = Object.entries(example.where).map(([column, value]) => `&${column}=eq.${value}`);
    return `curl "$SUPABASE_URL/rest/v1/${example.of}?select=${name}${filters.join("")}" \\\n  ${apikey}${token}`;
  }
  const body = json(example.args);
  const args = Object.entries(example.args).map(([it, value]) => `"${it}": ${json(value, "  ")}`);
  const broken = body.length <= width ? body : `{\n  ${args.join(",\n  ")}}`;
  return [
    `curl "$SUPABASE_URL/rest/v1/rpc/${name}" \\`,
    `  ${apikey}${token} \\`,
    `  -H "Content-Type: application/json" -d '${broken}'`,
  ].join("\n");
}

const clients: Record<By, string> = { user: "supabase", admin: "admin", server: "server" };

function call(name: string, args: string[]): string {
  const short = `${name}(${args.join(", ")})`;
  return short.length <= width - 20 ? short : `${name}(\n  ${args.join(",\n  ")})`;
}

function literal(value: Json): string {
  if (typeof value === "string") return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === "object" && value !== null) return literal(json(value, "  "));
  return String(value);
}

/** With a blank after each comma and colon, as people write it; where there is an indent, long ones an item a line. */
export const json = (value: Json, indent?: string): string =>
  writing(value, JSON.stringify, (of) => `{${of.join(", ")}}`, indent);

const script = (value: Json, indent?: string): string =>
  writing(
    value,
    (key) => key,
    (of) => `{ ${of.join(", ")} }`,
    indent,
  );

function writing(
  value: Json,
  keyed: (key: string) => string,
  braced: (fields: string[]) => string,
  indent?: string,
): string {
  const inside = (of: Json, deeper?: string) => writing(of, keyed, braced, deeper);
  if (Array.isArray(value)) {
    const items = value as Json[];
    const line = `[${items.map((item) => inside(item)).join(", ")}]`;
    if (indent === undefined || line.length <= width) return line;
    const deeper = `${indent}  `;
    return `[\n${items.map((item) => `${deeper}${inside(item, deeper)}`).join(",\n")}\n${indent}]`;
  }
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const line = braced(Object.entries(value).map(([key, of]) => `${keyed(key)}: ${inside(of as Json)}`));
  if (indent === undefined || indent.length + line.length <= width + 20) return line;
  const deeper = `${indent}  `;
  const fields = Object.entries(value).map(
    ([key, of]) => `${deeper}${keyed(key)}: ${inside(of as Json, deeper)}`,
  );
  return `{\n${fields.join(",\n")}\n${indent}}`;
}
