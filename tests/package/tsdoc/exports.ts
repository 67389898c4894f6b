/** What the package's four entries export, with what TSDoc says of it, as the compiler finds it. */
import { join, relative } from "node:path";
import ts from "typescript";
import { projectRoot } from "../../../scripts/project.ts";
import { snippetsIn, type Snippet } from "../../docs/snippets/pages.ts";

/** Types all of whose methods apps call. */
const clients = ["Tokenbook", "TokenHistory", "AdminBooks"];

/** One thing that an app can name, or a method of a client. */
export interface Documented {
  /** `Tokenbook.plans.change` */
  name: string;
  /** Whether it is called or made: then there must be an example. */
  isCalled: boolean;
  /** Everything but the tags. */
  words: string;
  /** The blocks of its examples, each by the file and line in which it stands. */
  examples: Snippet[];
}

export const entries = ["client", "admin", "ai", "react"].map((entry) =>
  join(projectRoot, "packages/tokenbook/src", entry, "index.ts"),
);

/** Reads modules as the repository's own compiler does; what two of them export is one. */
export function exportsOf(files: readonly string[]): Documented[] {
  const { config } = ts.readConfigFile(join(projectRoot, "tsconfig.json"), (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, projectRoot);
  const program = ts.createProgram([...files], options);
  const checker = program.getTypeChecker();
  const found = new Map<ts.Symbol, Documented>();
  for (const file of files) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file)!)!;
    for (const symbol of checker.getExportsOfModule(module)) {
      const declared =
        (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);
      if (found.has(declared)) continue;
      const isCalled = (declared.flags & (ts.SymbolFlags.Function | ts.SymbolFlags.Class)) !== 0;
      found.set(declared, documented(declared, declared.name, isCalled));
      if (clients.includes(declared.name)) methodsOf(declared, declared.name);
    }
  }
  return [...found.values()];

  function methodsOf(of: ts.Symbol, path: string): void {
    for (const member of of.members?.values() ?? []) {
      const name = `${path}.${member.name}`;
      if ((member.flags & ts.SymbolFlags.Method) !== 0) found.set(member, documented(member, name, true));
      const [declaration] = member.declarations ?? [];
      // a group of methods
      if (declaration && ts.isPropertySignature(declaration) && declaration.type) {
        const { symbol } = checker.getTypeFromTypeNode(declaration.type);
        methodsOf(symbol, name);
      }
    }
  }

  function documented(symbol: ts.Symbol, name: string, isCalled: boolean): Documented {
    const declarations = symbol.declarations ?? [];
    return {
      name,
      isCalled,
      words: ts.displayPartsToString(symbol.getDocumentationComment(checker)).trim(),
      examples: declarations.flatMap(ts.getJSDocTags).filter(isExample).flatMap(blocksOf),
    };
  }
}

const isExample = ({ tagName }: ts.JSDocTag) => tagName.text === "example";

/** The blocks of an example, without the stars of the comment. */
function blocksOf(tag: ts.JSDocTag): Snippet[] {
  const source = tag.getSourceFile();
  const markdown = source.text
    .slice(tag.getStart(), tag.end)
    .replace(/^@example/, "")
    .replaceAll(/^ *\* ?/gm, "");
  const before = source.getLineAndCharacterOfPosition(tag.getStart()).line;
  const page = relative(projectRoot, source.fileName);
  const blocks = snippetsIn(page, markdown).map((block) => ({ ...block, line: before + block.line }));
  const none = { page, line: before + 1, language: "", text: markdown, isClosed: false };
  return blocks.length === 0 ? [none] : blocks;
}

/** What is missing of them: words of their own, or an example that is a block in TypeScript. */
export function missing(all: readonly Documented[]): string[] {
  const said = all.map(({ words }) => words);
  return all.flatMap(({ name, words, isCalled, examples }) => [
    ...(words === "" ? [`${name} has no words`] : []),
    ...(words !== "" && !isSentence(words) ? [`${name} has no sentence: ${words}`] : []),
    ...(words !== "" && said.indexOf(words) !== said.lastIndexOf(words)
      ? [`${name} has the words of another: ${words}`]
      : []),
    ...(isCalled && examples.length === 0 ? [`${name} has no example`] : []),
    ...(examples.every(({ language, isClosed }) => isClosed && /^tsx?$/.test(language))
      ? []
      : [`${name} has an example that is no block of ts or tsx`]),
  ]);
}

const isSentence = (words: string) =>
  /^[A-Z`{]/.test(words) && /[.?]$/m.test(words) && words.split(/\s+/).length > 2;
