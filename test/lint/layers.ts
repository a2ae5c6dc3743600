/**
 * A lint plugin that keeps the rooms apart: imports point down, Node's own modules are used where there are files and
 * processes and nowhere else, and Effect is imported by subpath.
 *
 * @module
 */
import { below, roomOf } from "./rooms.ts";

const mayUseNode = (path: string): boolean =>
  /^(dataset|cli|server)\//.test(path) ||
  /^(sink\/(FileSink|KeyedFile|SafeFile)|sandbox\/Server|api\/transport\/(Undici|Proxy)|format\/csv\/decode|warehouse\/targets\/duckdb|postgres\/PasswordFile|queue\/(Names|Worker))\.ts$/
    .test(path);

/** Node's own modules, the commonest of them also by the names they had before `node:`. */
const ofNode =
  /^(node:|(assert|buffer|child_process|crypto|events|fs|https?|net|os|path|process|readline|stream|tls|url|util|worker_threads|zlib)($|\/))/;

const problemWith = (path: string, specifier: string): string | undefined => {
  if (ofNode.test(specifier) && !mayUseNode(path)) {
    return `src/${path} must run without Node: import ${specifier} where there are files or processes`;
  }
  if (specifier === "effect" || /^@effect\/[^/]+$/.test(specifier)) {
    return `Import a subpath such as effect/Effect: the barrel ${specifier} costs 200 ms and more at start-up`;
  }
  if (!specifier.startsWith(".")) return undefined;
  const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
  const [from, to] = [roomOf(path), roomOf(target)];
  return from === to || below[from]?.includes(to)
    ? undefined
    : `src/${path} must not import from ${to}: see test/lint/rooms.ts`;
};

const plugin: Deno.lint.Plugin = {
  name: "layers",
  rules: {
    imports: {
      create(context) {
        const path = context.filename.replaceAll("\\", "/").split("/src/").at(-1);
        if (path === undefined || !context.filename.includes("/src/")) return {};
        const check = (source: Deno.lint.Expression | Deno.lint.StringLiteral | null) => {
          if (source?.type !== "Literal" || typeof source.value !== "string") return;
          const message = problemWith(path, source.value);
          if (message !== undefined) context.report({ node: source, message });
        };
        return {
          ImportDeclaration: (node) => check(node.source),
          ImportExpression: (node) => check(node.source),
          ExportAllDeclaration: (node) => check(node.source),
          ExportNamedDeclaration: (node) => check(node.source),
        };
      },
    },
  },
};

export default plugin;
