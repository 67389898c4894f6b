/** An empty folder as somebody has it who copies a snippet: the packages that it names, the database's types, and it. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import ts from "typescript";
import { projectRoot } from "../../../scripts/project.ts";
import { holdFiles } from "../../functions/shared/token-hold/files.ts";
import type { Snippet } from "./pages.ts";

/** What a snippet may import; nothing else of this repository's packages is in the folder. */
const packages = [
  "@ai-sdk/openai-compatible",
  "@anthropic-ai/sdk",
  "@supabase/supabase-js",
  "@tanstack/react-query",
  "@types/node",
  "@types/pg",
  "@types/react",
  "@types/ws",
  "ai",
  "eventsource-parser",
  "openai",
  "pg",
  "react",
  "standardwebhooks",
  "stripe",
  "ws",
];

/** A module with what snippets take for granted, and its names. */
export interface Prelude {
  file: string;
  names: readonly string[];
}

/** What the guides take for granted. */
const ofGuides: Prelude = {
  file: "tests/docs/snippets/names.ts",
  names: [
    "server",
    "replica",
    "supabase",
    "user",
    "admin",
    "payer",
    "ann",
    "requestId",
    "askTheModel",
    "show",
  ],
};

/** The folder is where `tokenbook` is found too: its sources lie in it as they lie here. */
const source = "packages/tokenbook/src";
const parts = ["client", "react", "admin", "ai", "data/repair-plan.ts"].map((part) => join(source, part));
const withTokenbook = {
  name: "tokenbook",
  private: true,
  type: "module",
  exports: {
    ".": { types: `./${source}/client/index.ts`, default: `./${source}/client/index.js` },
    "./admin": { types: `./${source}/admin/index.ts` },
    "./ai": { types: `./${source}/ai/index.ts` },
    "./react": { types: `./${source}/react/index.ts` },
  },
};

export interface Folder {
  path: string;
  /** Where a snippet lies in it, as TypeScript. */
  fileOf(snippet: Snippet): string;
  remove(): void;
}

/** Makes it, with these snippets in it. */
export function makeFolder(snippets: readonly Snippet[], prelude: Prelude = ofGuides): Folder {
  const path = mkdtempSync(join(tmpdir(), "tokenbook-snippets-"));
  writeFileSync(join(path, "package.json"), JSON.stringify(withTokenbook));
  for (const name of packages) {
    const link = join(path, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(projectRoot, "node_modules", name), link, "junction");
  }
  const shared = join(projectRoot, "supabase/functions/_shared");
  for (const file of holdFiles) cpSync(join(shared, file), join(path, "_shared", file));
  cpSync(join(shared, "database.types.ts"), join(path, "database.types.ts"));
  for (const part of parts) cpSync(join(projectRoot, part), join(path, part), { recursive: true });
  for (const file of [...holdFiles, "database.types.ts", "model-usage.ts"])
    cpSync(join(shared, file), join(path, "supabase/functions/_shared", file));
  const fileOf = ({ page, line, language }: Snippet) =>
    join(path, "snippets", `${page.replaceAll(/[^a-z]+/gi, "-")}-${line}.${language}`);
  mkdirSync(join(path, "snippets"));
  // what the page of examples/react imports
  for (const file of [
    "examples/react/SignIn.tsx",
    "examples/react/supabase.ts",
    "tests/react/pages/env.d.ts",
  ])
    cpSync(join(projectRoot, file), join(path, "snippets", basename(file)));
  const known = readFileSync(join(projectRoot, prelude.file), "utf8");
  writeFileSync(
    join(path, "snippets/names.ts"),
    known.replace("../../../supabase/functions/_shared/", "../"), // the types lie beside it there
  );
  for (const snippet of snippets) writeFileSync(fileOf(snippet), moduleOf(snippet, prelude.names));
  return { path, fileOf, remove: () => rmSync(path, { recursive: true }) };
}

/** The snippet as a module, on one line more than it has: what it takes for granted is imported there. */
function moduleOf({ text }: Snippet, names: readonly string[]): string {
  const used = namesIn(text, names);
  const typed = text.includes("createClient(")
    ? text.replace("createClient(", "createClient<import('./names.ts').Documented>(")
    : text;
  return `import { ${used.join(", ")} } from "./names.ts";\n${typed}\nexport {};\n`;
}

/** Which of the names a snippet uses and does not declare; each is told from a longer one and a member. */
export function namesIn(text: string, names: readonly string[]): string[] {
  const code = text.replaceAll(/\/\/.*$/gm, "").replaceAll(/"[^"\n]*"/g, '""');
  const isDeclared = (name: string) =>
    new RegExp(String.raw`\b(const|let|function)\s+(\{((?!\}\s*of\b)[^=;])*)?\b${name}\b`).test(code);
  return names.filter(
    (name) => new RegExp(String.raw`(?<![\w"]|(?<!\.\.)\.)${name}\b(?!:)`).test(code) && !isDeclared(name),
  );
}

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: ["node"],
  jsx: ts.JsxEmit.ReactJSX,
  strict: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  rewriteRelativeImportExtensions: true,
};

/** What the compiler says to the snippets, each by the line of its page. */
export function compile(
  folder: Folder,
  snippets: readonly Snippet[],
  stricter: ts.CompilerOptions = {},
): string[] {
  const program = ts.createProgram([...snippets.map(folder.fileOf), join(folder.path, "snippets/env.d.ts")], {
    ...options,
    ...stricter,
    noEmit: true,
    typeRoots: [join(folder.path, "node_modules/@types")],
  });
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const said = ts.flattenDiagnosticMessageText(messageText, " ");
    const snippet = snippets.find((one) => folder.fileOf(one) === file?.fileName);
    if (snippet === undefined || file === undefined) return `${file?.fileName ?? "?"}: ${said}`;
    return `${snippet.page}:${snippet.line + file.getLineAndCharacterOfPosition(start ?? 0).line}: ${said}`;
  });
}

/** Makes JavaScript of everything in the folder, for whichever Node runs it. */
export function emit(folder: Folder): void {
  for (const path of ts.sys.readDirectory(folder.path, [".ts"], ["node_modules", "**/*.d.ts"])) {
    const { outputText } = ts.transpileModule(ts.sys.readFile(path)!, {
      compilerOptions: { ...options, module: ts.ModuleKind.ESNext },
      fileName: path,
    });
    writeFileSync(path.replace(/\.ts$/, ".js"), outputText);
  }
}
