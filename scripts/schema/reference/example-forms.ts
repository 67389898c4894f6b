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
  return short.length <= width ? short : `${begin}, {\n${args.map((arg) => `  ${arg},\n`).join("")}});`;
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
  const args = Object.entries(example.args).map(([it, value]) => `"${it}": ${json(value)}`);
  const body = `{${args.join(", ")}}`;
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
  if (typeof value === "object" && value !== null) return literal(json(value));
  return String(value);
}

/** With a blank after each comma and colon, as people write it. */
export function json(value: Json): string {
  if (Array.isArray(value)) return `[${(value as Json[]).map(json).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).map(([key, of]) => `${JSON.stringify(key)}: ${json(of as Json)}`);
  return `{${fields.join(", ")}}`;
}

function script(value: Json): string {
  if (Array.isArray(value)) return `[${(value as Json[]).map(script).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).map(([key, of]) => `${key}: ${script(of as Json)}`);
  return `{ ${fields.join(", ")} }`;
}
