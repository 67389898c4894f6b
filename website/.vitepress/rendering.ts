/** Markdown as the site shows it, where that is not what VitePress does by itself. */
import { relative } from "node:path";
import { renderMermaidSVG } from "beautiful-mermaid";
import type { MarkdownOptions } from "vitepress";
import { targetOf } from "../links.ts";
import { headingId } from "../markdown.ts";
import { root } from "../pages.ts";

type MarkdownIt = Parameters<NonNullable<MarkdownOptions["config"]>>[0];
type Token = Parameters<MarkdownIt["renderer"]["render"]>[0][number];

export function renderingOf(base: string): MarkdownOptions {
  return {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: { slugify: headingId },
    // pages are written for GitHub, which knows none of these
    attrs: { disable: true },
    linkify: false,
    config(md) {
      md.disable("emoji", true);
      md.core.ruler.push("pages", ({ tokens, env }) => {
        const page = relative(root, env.realPath ?? env.path);
        for (const [place, token] of tokens.entries()) {
          if (token.type === "th_open") leaveCorner(tokens.slice(place, place + 3));
          if (token.type === "paragraph_open") markPicture(token, tokens[place + 1]);
          if (token.children) resolveLinks(page, token.children, base);
        }
      });
      const fence = md.renderer.rules.fence!;
      md.renderer.rules.fence = (tokens, index, ...rest) => {
        const { info, content } = tokens[index]!;
        return info.trim() === "mermaid" ? drawn(content) : fence(tokens, index, ...rest);
      };
      // a long name may be broken where its words meet
      const code = md.renderer.rules.code_inline!;
      md.renderer.rules.code_inline = (...args) => code(...args).replaceAll(/(\w[_.])(?=\w)/g, "$1<wbr>");
      // a table that is wider than the page is moved by itself, with the keyboard too
      md.renderer.rules["table_open"] = () => '<div class="table" tabindex="0"><table>\n';
      md.renderer.rules["table_close"] = () => "</table></div>\n";
    },
  };
}

/** The empty corner of a table heads nothing. */
function leaveCorner([open, content, close]: Token[]): void {
  if (content?.content === "") open!.tag = close!.tag = "td";
}

/** A paragraph that is a picture, which is moved by itself where it is wider than the page. */
function markPicture(paragraph: Token, content: Token | undefined): void {
  if (content?.children?.length !== 1 || content.children[0]!.type !== "image") return;
  paragraph.attrSet("class", "picture");
  paragraph.attrSet("tabindex", "0");
}

function resolveLinks(page: string, tokens: Token[], base: string): void {
  for (const [index, token] of tokens.entries()) {
    if (token.type !== "link_open") continue;
    const target = targetOf(page, String(token.attrGet("href")));
    if (target.kind === "words") {
      const close = tokens.slice(index).find(({ type }) => type === "link_close")!;
      for (const end of [token, close]) {
        end.type = "words";
        end.tag = "span";
        end.attrs = null;
      }
    } else if (target.kind === "file") {
      token.attrSet("href", `${base}${target.href.slice(1)}`);
      token.attrSet("target", "_blank"); // it is no page, and VitePress leaves it as it is
    } else if (target.kind !== "dead") {
      token.attrSet("href", target.href);
    }
  }
}

/** A diagram as SVG in the page's own colours, made when the page is; downwards, as a page is taller than wide. */
function drawn(diagram: string): string {
  const svg = renderMermaidSVG(diagram.replace(/^flowchart LR/, "flowchart TD"), {
    bg: "var(--vp-c-bg)",
    fg: "var(--vp-c-text-1)",
    font: "inherit",
    transparent: true,
  });
  const styled = svg
    .replace(/@import url\([^)]*\);/, "") // a font from elsewhere
    // a <style> in a page is Vue's
    .replaceAll(/<style>([^]*?)<\/style>/g, '<component is="style">$1</component>');
  return `<div class="diagram" tabindex="0" role="region" aria-label="Diagram">${styled}</div>\n`;
}
