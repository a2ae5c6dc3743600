/**
 * A lint plugin that keeps the layers apart: imports point down, never up or sideways, Node's own modules are used where
 * there are files and processes and nowhere else, and Effect is imported by subpath.
 *
 * @module
 */

const below: Readonly<Record<string, ReadonlyArray<string>>> = {
  base: ["base"],
  tenant: ["base", "tenant"],
  walk: ["base", "tenant", "walk"],
  format: ["base", "format"],
  output: ["base", "output"],
  export: ["base", "format", "output", "export"],
  dataset: ["base", "tenant", "walk", "format", "output", "export", "dataset"],
  sandbox: ["sandbox"],
  entry: ["base", "tenant", "walk", "format", "output", "export", "dataset"],
  cli: ["base", "tenant", "walk", "format", "output", "export", "dataset", "sandbox", "worker", "cli"],
  worker: ["base", "tenant", "walk", "format", "output", "export", "dataset", "worker"],
  thread: ["base", "tenant", "walk", "format", "output", "export", "thread"],
};

const layerOf = (path: string): string => {
  const [first = "", second] = path.split("/");
  if (second !== undefined) return first;
  return first === "mod.ts" || first === "promise.ts" ? "entry" : "base";
};

const mayUseNode = (path: string): boolean =>
  path === "output/File.ts" || path === "sandbox/Server.ts" ||
  /^tenant\/(Undici|Proxy)\.ts$/.test(path) || /^(dataset|cli|worker)\/|^thread\/[nN]ode/.test(path);

/** Node's own modules, the commonest of them also by the names they had before `node:`. */
const ofNode =
  /^(node:|(assert|buffer|child_process|crypto|events|fs|https?|net|os|path|process|readline|stream|tls|url|util|worker_threads|zlib)($|\/))/;

const problemWith = (path: string, specifier: string): string | undefined => {
  if (ofNode.test(specifier) && !mayUseNode(path)) {
    return `src/${path} must run without Node: only output/File.ts, sandbox/Server.ts, tenant/Undici.ts, tenant/Proxy.ts, dataset/, worker/, cli/ and thread/Node*.ts import ${specifier}`;
  }
  if (specifier === "effect" || /^@effect\/[^/]+$/.test(specifier)) {
    return `Import a subpath such as effect/Effect: the barrel ${specifier} costs 200 ms and more at start-up`;
  }
  if (!specifier.startsWith(".")) return undefined;
  const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
  const [from, to] = [layerOf(path), layerOf(target)];
  return below[from]?.includes(to)
    ? undefined
    : `src/${path} (layer ${from}) must not import from layer ${to}: imports point down`;
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
