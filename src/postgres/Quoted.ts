/** Quote a name for a statement. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Write a text as a literal of a statement. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
