import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { truncate } from "../../src/session/IpAddress.ts";

/** Whether an address is in a network, by Node's own reckoning. */
const lies = (address: string, network: string, bits: number, family: "ipv4" | "ipv6"): boolean => {
  const list = new BlockList();
  list.addSubnet(network, bits, family);
  return list.check(address, family);
};

describe("truncate()", () => {
  it.each([
    ["203.0.113.7", "203.0.113.0"],
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1::"],
    ["2001:0DB8:0001:0002:0003:0004:0005:0006", "2001:db8:1::"],
    ["2001:db8::1", "2001:db8::"],
    ["2001:db8:0:7::1", "2001:db8::"],
    ["2001::7:0:0:0:1", "2001::"],
    ["0:0:5:6:7:8:9:a", "0:0:5::"],
    ["::5:6:7:8:9:a", "0:0:5::"],
    ["::6:7:8:9:a", "::"],
    ["::", "::"],
    ["::1", "::"],
    ["1:2:3:4:5:6:203.0.113.7", "1:2:3::"],
    ["::ffff:203.0.113.7", "203.0.113.0"],
    ["::FFFF:cb00:7107", "203.0.113.0"],
    ["0:0:0:0:0:ffff:203.0.113.7", "203.0.113.0"],
    ["::203.0.113.7", "::"],
    ["64:ff9b::203.0.113.7", "64:ff9b::"],
    ["2002:cb00:7107::1", "2002:cb00:7100::"],
    ["2002:cb00:7:1::1", "2002:cb00::"],
  ])("writes %s as %s", (address, network) => expect(truncate(address)).toBe(network));

  it.each([
    "",
    " ",
    "unknown",
    "localhost",
    "203.0.113",
    "203.0.113.7.1",
    "203.0.113.256",
    "203.0.113.07",
    "0xcb.0.113.7",
    "3405803783",
    "cb007107",
    ".1.2.3.4",
    "1.2.3.4.",
    "203.0.113.7:443",
    "203.0.113.7/32",
    " 203.0.113.7",
    "203.0.113.7\n",
    "203.0.113.7, 10.0.0.1",
    "[2001:db8::1]",
    "[2001:db8::1]:443",
    "2001:db8::1/64",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "2001:db8::1::2",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "::ffff:203.0.113.07",
    ":",
    "::]@[::1",
    "٢٠٣.0.113.7",
  ])("takes %j for no address", (text) => expect(truncate(text)).toBeNull());

  it("gives the /24 that any IPv4 address lies in, also when it is mapped into IPv6", () => {
    fc.assert(fc.property(fc.ipV4(), (address) => {
      const network = truncate(address)!;
      expect(isIPv4(network) && network.endsWith(".0")).toBe(true);
      expect(lies(address, network, 24, "ipv4")).toBe(true);
      expect(truncate(`::ffff:${address}`)).toBe(network);
      expect(truncate(network)).toBe(network);
    }));
  });

  it("gives the /48 that any IPv6 address lies in, however it is written", () => {
    fc.assert(fc.property(fc.ipV6(), (address) => {
      const network = truncate(address)!;
      if (!network.includes(":")) return expect(lies(address, `::ffff:${network}`, 120, "ipv6")).toBe(true);
      expect(isIPv6(network)).toBe(true);
      expect(network).toMatch(/^([\da-f]+(:[\da-f]+){0,2})?::$/);
      expect(lies(address, network, network.startsWith("2002:") ? 40 : 48, "ipv6")).toBe(true);
      expect(truncate(network)).toBe(network);
    }));
  });

  it("takes for an address only what Node takes for one", () => {
    const text = fc.string({ unit: fc.constantFrom(..."0129af:.%/[] "), maxLength: 20 });
    fc.assert(fc.property(fc.oneof(text, fc.ipV4(), fc.ipV6()), (text) => {
      const isAddress = isIP(text) !== 0 && !text.includes("%");
      expect(truncate(text) !== null).toBe(isAddress);
    }));
  });
});
