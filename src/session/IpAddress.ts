/** IP addresses without the part that names one customer of a network. */

/** The eight groups of an IPv6 address, or of an IPv4 one mapped into IPv6; undefined if the text is neither. */
const groupsOf = (text: string): ReadonlyArray<number> | undefined => {
  const isIpv6 = text.includes(":");
  if (!(isIpv6 ? /^[\da-f:.]+$/i : /^[\d.]+\.[\d.]+$/).test(text)) return undefined;
  // The runtime's URL parser knows every way to write an address, and writes it in one. No zone, no leading zeros.
  const url = `http://[${isIpv6 ? "" : "::ffff:"}${text}]`;
  if (!URL.canParse(url)) return undefined;
  const [head = [], tail = []] = new URL(url).hostname.slice(1, -1).split("::")
    .map((part) => part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
};

/**
 * The address of the network that an address lies in: of the /24 for IPv4, of the /48 for IPv6, in the form of RFC 5952.
 * An IPv4 address inside an IPv6 one is truncated as IPv4: `::ffff:203.0.113.7` becomes `203.0.113.0`, and of 6to4's
 * `2002:cb00:7107::1`, whose first 48 bits hold all of it, `2002:cb00:7100::` is left. Null for any other text, one with
 * a port, a zone or a prefix length included.
 */
export const truncate = (text: string): string | null => {
  const groups = groupsOf(text);
  if (groups === undefined) return null;
  const [a = 0, b = 0, c = 0, , , f, g = 0, h = 0] = groups;
  if (f === 0xffff && groups.findIndex((group) => group !== 0) === 5) {
    return `${g >> 8}.${g & 0xff}.${h >> 8}.0`;
  }
  const network = [a, b, a === 0x2002 ? c & 0xff00 : c];
  while (network.at(-1) === 0) network.pop();
  return `${network.map((group) => group.toString(16)).join(":")}::`;
};
