/** Whether every link of the built site leads somewhere: to a file that is there, and to an id in it. */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

export interface Followed {
  pages: number;
  links: number;
  /** `page: link`, a line each. */
  dead: string[];
}

/** @param base where the folder is on its host, `/next/` */
export function followLinks(folder: string, base: string): Followed {
  const files = new Set(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => posix.relative(folder, posix.join(entry.parentPath, entry.name))),
  );
  const htmlFiles = [...files].filter((name) => name.endsWith(".html"));
  const ids = new Map(
    htmlFiles.map((name) => {
      const html = readFileSync(join(folder, name), "utf8");
      return [name, new Set([...html.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => unescaped(id!)))];
    }),
  );
  const dead: string[] = [];
  let links = 0;
  for (const page of htmlFiles) {
    const html = readFileSync(join(folder, page), "utf8").replaceAll(
      /(<script\b[^>]*>)[^]*?<\/script>/g,
      "$1",
    );
    for (const [, quoted] of html.matchAll(/\s(?:href|src)="([^"]*)"/g)) {
      const link = unescaped(quoted!);
      if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(link)) continue;
      links += 1;
      if (!leadsSomewhere(page, link)) dead.push(`${page}: ${link}`);
    }
  }
  return { pages: htmlFiles.length, links, dead: [...new Set(dead)] };

  function leadsSomewhere(page: string, link: string): boolean {
    const [address = "", anchor = ""] = link.split("#");
    const path = decodeURI(address.replace(/\?.*$/, ""));
    if (path.startsWith("/") && !path.startsWith(base)) return false;
    const named = path.startsWith("/") ? path.slice(base.length) : posix.join(posix.dirname(page), path);
    const target = path === "" ? page : named === "" || named.endsWith("/") ? `${named}index.html` : named;
    if (!files.has(target)) return false;
    return anchor === "" || (ids.get(target)?.has(decodeURIComponent(anchor)) ?? true);
  }
}

const unescaped = (text: string) =>
  text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&amp;", "&");
