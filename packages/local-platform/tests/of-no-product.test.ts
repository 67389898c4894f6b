import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

const files = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name))
  .filter((file) => !/node_modules|\.cache/.test(relative(root, file)));

/** The product's name, of the folder's package.json: not written here, where it would be found. */
const product = (JSON.parse(readFileSync(join(root, "..", "..", "package.json"), "utf8")) as { name: string })
  .name;

/** Where a text names the product, in whatever spelling. */
function naming(text: string): string[] {
  const words = product.replace(/^token/, "token[-_ ]?");
  return text.match(new RegExp(`.*${words}.*`, "gi")) ?? [];
}

/** Imports of a file that lead out of the package, by a path or by the name of a neighbour. */
function leaving(file: string, text: string): string[] {
  const targets = [...text.matchAll(/(?:from|import\(?)\s*["']([^"']+)["']|new URL\("([^"]+)"/g)];
  return targets
    .map(([, imported, url]) => imported ?? url!)
    .filter((target) => target.startsWith("."))
    .filter((target) => relative(root, resolve(dirname(file), target)).startsWith(".."))
    .filter((target) => !target.endsWith("node_modules/.cache"));
}

test("no file of the package names the product", () => {
  const found = files.map((file) => [relative(root, file), naming(readFileSync(file, "utf8"))] as const);

  expect(files.length).toBeGreaterThan(50);
  expect(found.filter(([, lines]) => lines.length > 0)).toEqual([]);
});

test("no file of the package imports from outside of it", () => {
  const code = files.filter((file) => file.endsWith(".ts"));
  const found = code.map(
    (file) => [relative(root, file), leaving(file, readFileSync(file, "utf8"))] as const,
  );

  expect(found.filter(([, targets]) => targets.length > 0)).toEqual([]);
});

test("control: a name and an import that should not be there are found", () => {
  const name = product.replace("token", "Token ");
  expect(naming(`one\n// like ${name} does\n`)).toEqual([`// like ${name} does`]);
  const text = ['"../gone.ts"', '"../../../scripts/project.ts"'].map((target) => `import x from ${target};`);
  expect(leaving(join(root, "tests", "a.test.ts"), text.join("\n"))).toEqual(["../../../scripts/project.ts"]);
});
