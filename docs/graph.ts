/**
 * Draws the rooms of `src` and the imports between them, from the code: `npm run graph` writes `docs/rooms.svg`.
 *
 * A room stands one floor above the highest room that it imports from.
 *
 * @module
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { roomOf } from "../test/lint/rooms.ts";

/** The files of `src`, each with the files that it imports, types included. */
export type Files = ReadonlyMap<string, { readonly imports: ReadonlyArray<string> }>;

const importing = /^(?! \*|\s*\/\/).*?(?:\bfrom|\bimport\(|^import)\s*"(\.[^"]+)"/gm;

/** Read the imports of every file of a source folder. */
export const readFiles = async (source: URL): Promise<Files> => {
  const names = (await readdir(source, { recursive: true })).filter((name) => name.endsWith(".ts")).sort();
  return new Map(
    await Promise.all(names.map(async (name) => {
      const text = await readFile(new URL(name, source), "utf8");
      const targets = [...text.matchAll(importing)].map(([, target = ""]) =>
        new URL(target, `file:///${name}`).pathname.slice(1)
      );
      return [name, { imports: [...new Set(targets)] }] as const;
    })),
  );
};

/** Find the files that import themselves, by way of others: each circle as the names along it. */
export const circlesOf = (files: Files): ReadonlyArray<ReadonlyArray<string>> => {
  const circles: Array<ReadonlyArray<string>> = [];
  const done = new Set<string>();
  const path: Array<string> = [];
  const visit = (name: string): void => {
    const at = path.indexOf(name);
    if (at !== -1) circles.push([...path.slice(at), name]);
    if (at !== -1 || done.has(name)) return;
    path.push(name);
    for (const next of files.get(name)?.imports ?? []) visit(next);
    path.pop();
    done.add(name);
  };
  for (const name of files.keys()) visit(name);
  return circles;
};

/** A room: how many files it has, the rooms it imports from with the number of imports, and its floor from 0. */
export interface Room {
  files: number;
  readonly imports: Map<string, number>;
  floor: number;
}

/** Sum the files up by room. Rooms that import each other have no floor: there must be no circle. */
export const roomsOf = (files: Files): ReadonlyMap<string, Room> => {
  const rooms = new Map<string, Room>();
  for (const [name, { imports }] of files) {
    const name_ = roomOf(name);
    const room: Room = rooms.get(name_) ?? { files: 0, imports: new Map(), floor: -1 };
    rooms.set(name_, room);
    room.files++;
    for (const target of imports.map(roomOf)) {
      if (target !== name_) room.imports.set(target, (room.imports.get(target) ?? 0) + 1);
    }
  }
  const floorOf = (name: string, above: ReadonlyArray<string>): number => {
    if (above.includes(name)) throw new Error(`rooms in a circle: ${[...above, name].join(" → ")}`);
    const room = rooms.get(name)!;
    if (room.floor === -1) {
      room.floor = Math.max(
        -1,
        ...[...room.imports.keys()].map((target) => floorOf(target, [...above, name])),
      ) +
        1;
    }
    return room.floor;
  };
  for (const name of rooms.keys()) floorOf(name, []);
  return rooms;
};

const [WIDTH, FLOOR, HEIGHT, GAP] = [920, 84, 40, 18];

/** Draw the rooms as an SVG, the ground at the foot. Dark where its reader's screen is. */
export const draw = (rooms: ReadonlyMap<string, Room>): string => {
  const floors: Array<Array<string>> = [];
  for (const [name, { floor }] of rooms) (floors[floor] ??= []).push(name);
  const height = floors.length * FLOOR + GAP;
  const places = new Map<string, { readonly x: number; readonly y: number; readonly width: number }>();
  floors.forEach((names, floor) => {
    const width = 128;
    const step = Math.min((WIDTH - width) / Math.max(1, names.length - 1), width + 60);
    const first = (WIDTH - step * (names.length - 1)) / 2;
    // Alternate floors are shifted, so that few lines run behind a room.
    const shift = names.length > 5 ? 0 : (floor % 2 === 0 ? 24 : -24);
    names.forEach((name, at) =>
      places.set(name, {
        x: first + at * step + shift,
        y: height - GAP - floor * FLOOR - HEIGHT,
        width,
      })
    );
  });
  const lines = [...rooms].flatMap(([name, { imports }]) =>
    [...imports].map(([target, count]) => {
      const [from, to] = [places.get(name)!, places.get(target)!];
      const [y, end] = [from.y + HEIGHT, to.y];
      const bend = (end - y) / 2;
      const width = (0.6 + Math.log2(count) / 3).toFixed(1);
      return `<path d="M${from.x} ${y}C${from.x} ${y + bend} ${to.x} ${
        end - bend
      } ${to.x} ${end}" stroke-width="${width}"><title>${name} → ${target}: ${count}</title></path>`;
    })
  );
  const boxes = [...rooms].map(([name, { files }]) => {
    const { x, y, width } = places.get(name)!;
    const size = files === 1 ? "" : `${files} files`;
    return `<g transform="translate(${
      x - width / 2
    } ${y})"><rect width="${width}" height="${HEIGHT}" rx="6"/>` +
      `<text x="${width / 2}" y="17" class="name">${files === 1 ? `${name}.ts` : name}</text>` +
      `<text x="${width / 2}" y="32" class="size">${size}</text></g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="The rooms of src: ${floors.length} floors, imports point down">
<style>
text { font: 12px system-ui, sans-serif; text-anchor: middle; fill: #1f2328 }
.name { font-weight: 600 }
.size { font-size: 10px; fill: #59636e }
rect { fill: #f6f8fa; stroke: #8c959f }
path { fill: none; stroke: #0969da; opacity: .45 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.size { fill: #9198a1 }
rect { fill: #151b23; stroke: #656c76 }
path { stroke: #4493f8 }
}
</style>
${lines.join("\n")}
${boxes.join("\n")}
</svg>
`;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const rooms = roomsOf(await readFiles(new URL("../src/", import.meta.url)));
  const target = new URL("./rooms.svg", import.meta.url);
  await writeFile(target, draw(rooms));
  const floors = 1 + Math.max(...[...rooms.values()].map(({ floor }) => floor));
  const imports = [...rooms.values()].reduce((sum, { imports }) => sum + imports.size, 0);
  console.error(`${fileURLToPath(target)}: ${rooms.size} rooms, ${floors} floors, ${imports} imports`);
}
