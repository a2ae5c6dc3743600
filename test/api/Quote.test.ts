/** What is quoted of others never gives the key away, nor a part of it. */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { quoteWithout } from "../../src/api/Quote.ts";

const char = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const key = fc.string({ unit: char, minLength: 12, maxLength: 64 });
/** Few of these could be a piece of a key by chance. */
const words = fc.string({ unit: fc.constantFrom(..."the answer ü漢\n🦆,."), maxLength: 40 });

const hex = (text: string) => Buffer.from(text).toString("hex");
const percent = (text: string) => hex(text).replace(/../g, "%$&");

/** Ways to write a text, each with all it says. */
const ways: Readonly<Record<string, (text: string) => string>> = {
  "as it is": (text) => text,
  "in lower case": (text) => text.toLowerCase(),
  "in upper case": (text) => text.toUpperCase(),
  "with characters without a shape in it": (text) => [...text].join("\u200b"),
  "with variation selectors and fillers in it": (text) => [...text].join("\ufe0f\u3164\u{e0100}"),
  "in escapes of URLs": percent,
  "in escapes of URLs, twice": (text) => percent(text).replaceAll("%", "%25"),
  "in escapes of JSON": (text) => hex(text).replace(/../g, "\\u00$&"),
  "in escapes of HTML": (text) => hex(text).replace(/../g, "&#x$&;"),
  "in hexadecimal": hex,
  "in hexadecimal, with colons": (text) => hex(text).toUpperCase().replace(/..(?=.)/g, "$&:"),
  "in hexadecimal, between other digits": (text) => `a${hex(text)}f`,
  "in base64": (text) => Buffer.from(text).toString("base64"),
  "in base64, of one byte more before it": (text) => Buffer.from(`:${text}`).toString("base64"),
  "in base64, of a name before it and more behind": (text) =>
    Buffer.from(`me:${text}:you`).toString("base64"),
  "in base64 of URLs": (text) => Buffer.from(text).toString("base64url"),
  "in base64, in lines": (text) => Buffer.from(text).toString("base64").replace(/.{16}/g, "$&\r\n"),
  "in base64 of hexadecimal": (text) => Buffer.from(hex(text)).toString("base64"),
};

describe("quoteWithout()", () => {
  it.each(Object.entries(ways))("never shows a piece of 12 characters or more of any key, %s", (_, write) => {
    fc.assert(
      fc.property(key, fc.nat(), fc.nat(), words, words, (key, from, length, before, behind) => {
        const start = from % (key.length - 11);
        const piece = key.slice(start, start + 12 + length % (key.length - start - 11));
        const written = write(piece);
        const shown = quoteWithout(key)(`${before} ${written} ${behind}`);
        expect(shown).toContain("<redacted>");
        expect(shown).not.toContain(written);
        const low = shown.toLowerCase();
        for (let at = 0; at + 12 <= key.length; at++) {
          expect(low).not.toContain(key.slice(at, at + 12).toLowerCase());
        }
      }),
      { seed: 12, numRuns: 60 },
    );
  });

  it("leaves what is beside the key, and shorter pieces of it", () => {
    const quote = quoteWithout("mcs_0123456789abcdef");
    expect(quote("the key mcs_0123456789abcdef, and mcs_0123456.")).toBe(
      "the key <redacted>, and mcs_0123456.",
    );
    expect(quote("Bearer 0123456789ab and 456789ABCDEF")).toBe("Bearer <redacted> and <redacted>");
  });

  it("of any text leaves no control character, none without a shape, and not more than 500", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 2000 }), (text) => {
        const shown = quoteWithout("a-key-that-is-not-there")(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}]/u);
        expect(shown.length).toBeLessThanOrEqual(501);
      }),
      { numRuns: 30 },
    );
  });

  it("is done in time, whatever the text", () => {
    for (const unit of ["A", "%25", "\\u0025", "&#37;", "0a", "A-", "%", "\u200b"]) {
      const shown = quoteWithout("mcs_0123456789abcdef")(unit.repeat(2 ** 20));
      expect(shown.length).toBeLessThanOrEqual(501);
    }
  }, 20_000);
});
