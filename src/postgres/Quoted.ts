/** Quote a name for a statement of PostgreSQL. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
