import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { printable, printableJson } from "../../../src/cli/ui/Terminal.ts";
import { anyText } from "../../contract/sessions.ts";
import { newFolder } from "../../folders.ts";
import { answering, quotedCommand, run, start, tenant } from "../command.ts";

const obeyed =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/u;

const wild = fc.string({
  unit: fc.oneof(
    anyText,
    fc.constantFrom(
      "\u001b[2J",
      "\u009b31m",
      "\n",
      "\r",
      "\u202e",
      "\u2029",
      "\u007f",
      "\u200b",
      "\ufeff",
      "\u{e0041}",
      // Has no shape either, and is not assigned.
      "\u{e0002}",
    ),
  ),
});

describe("printable()", () => {
  it("never leaves what a terminal would obey, nor a second line, and leaves all else", () => {
    fc.assert(fc.property(wild, (text) => {
      expect(printable(text)).not.toMatch(obeyed);
      expect(printable(text).split(/[\n\r\u2028\u2029\u0085]/)).toHaveLength(1);
    }));
    expect(printable("Zoë \u001b[31m\n漢 🦆")).toBe("Zoë \\u001b[31m\\u000a漢 🦆");
    expect(printable("a\u200bb\u202e\u{e0041}c")).toBe("a\\u200bb\\u202e\\udb40\\udc41c");
    expect(printable("a\u3164b\ufe0fc\u{e0002}d")).toBe("a\\u3164b\\ufe0fc\\udb40\\udc02d");
  });

  it("of any JSON is the same JSON", () => {
    fc.assert(fc.property(wild, (text) => {
      expect(printableJson({ text })).not.toMatch(obeyed);
      expect(JSON.parse(printableJson({ text }))).toEqual({ text });
    }));
  });
});

describe("what a terminal would obey never reaches it", () => {
  const evil = "x\u001b]0;owned\u0007\u009b31m\u202e\r\nError: all is lost";

  it("from ids on the command line", async () => {
    const { sandbox, env } = await tenant();
    const [userId = ""] = sandbox.userIds();
    const cwd = await newFolder();
    const mixed = await run(["export", "--user", evil, "--user", userId, "--out", "s.csv"], { env, cwd });
    expect(mixed.err).not.toMatch(obeyed);
    expect(mixed.err).toContain("Warning: 1 user unknown to the tenant: x\\u001b]0;owned\\u0007\\u009b31m");
    expect(mixed.err).not.toMatch(/^Error/m);
    const alone = await run(["export", "--user", evil, "--out", "t.csv"], { env, cwd });
    expect(alone.err).not.toMatch(obeyed);
    expect(alone.err.trimEnd().split("\n")).toHaveLength(1);
  });

  it("from names of files", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const { err } = await run(["export", "--all-users", "--out", `${evil.replaceAll("/", "")}.csv`], {
      env,
      cwd,
    });
    expect(err).toContain("owned");
    expect(err).not.toMatch(obeyed);
  });

  it("from ids the tenant gives", async () => {
    const { env } = await answering((request, response) => {
      const isList = new URL(request.url!, "http://x").pathname === "/api/users";
      response.writeHead(isList ? 200 : 404, { "content-type": "application/json" });
      response.end(isList ? JSON.stringify([{ user_id: evil, creation_time: 1 }]) : "{}");
    });
    const { err } = await run(["export", "--all-users", "--out", "s.csv", "--max-elapsed", "2s"], {
      env,
      cwd: await newFolder(),
    });
    expect(err).toContain("owned");
    expect(err).not.toMatch(obeyed);
  });

  it("from what the tenant says of an error, its headers included", async () => {
    const { env } = await answering((_, response) => {
      response.writeHead(422, {
        "content-type": "application/problem+json",
        location: Buffer.from("https://x/\u009b31m").toString("latin1"),
      });
      response.end(JSON.stringify({ title: evil, detail: evil, errors: { [evil]: [evil] } }));
    });
    for (const args of [["check", "--user", evil], ["export", "--user", evil, "--out", "s.csv"]]) {
      const { err } = await run(args, { env, cwd: await newFolder() });
      expect(err).toContain("owned");
      expect(err).not.toMatch(obeyed);
      expect(err.trimEnd().split("\n")).toHaveLength(1);
    }
  });

  it("from rows that are not sessions", async () => {
    const { env } = await answering((_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify([{ [evil]: evil, session_id: "S", client_ids: evil }]));
    });
    const cwd = await newFolder();
    const failing = ["export", "--user", evil, "--on-invalid", "fail", "--out", "s.csv"];
    const { code, err } = await run(failing, { env, cwd });
    expect(code).toBe(65);
    expect(err).not.toMatch(obeyed);
    const checked = await run(["check", "--user", evil], { env, cwd });
    expect(checked.out).not.toMatch(obeyed);
    const report = await run(["export", "--user", evil, "--out", "s.csv", "--json"], { env, cwd });
    expect(report.out).not.toMatch(obeyed);
  });
});

describe("help and usage errors", () => {
  const coloured = "\u001b[1m";

  it("are plain text when they do not go to a terminal", async () => {
    const help = await run(["export", "--help"]);
    expect(help.code).toBe(0);
    expect(help.out).toContain("--users-file FILE");
    expect(help.out).not.toMatch(obeyed);
    expect((await run(["exprot"])).err).not.toMatch(obeyed);
    expect((await run([])).out).toContain("Commands");
  });

  it("are in colour on a terminal, unless NO_COLOR is set", async (context) => {
    const script = async (env: Record<string, string>) => {
      return (await start("script", ["-qec", `${quotedCommand} --help`, "/dev/null"], { env, input: "" })
        .done).out;
    };
    const out = await script({ TERM: "xterm" }).catch(() => undefined);
    if (out === undefined) return context.skip("needs script of util-linux");
    expect(out).toContain(coloured);
    expect(await script({ TERM: "xterm", NO_COLOR: "1" })).not.toContain(coloured);
  });
});
