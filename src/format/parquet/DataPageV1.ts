/**
 * Data pages of version 1, which every reader knows. The writer makes those of version 2 alone, so a row group of them,
 * uncompressed, is written again here. In version 1 the levels lie before the values, each with its length, and all of it is
 * compressed as one. A dictionary goes by the name that it has in version 1.
 */
import type { Encoding, PageHeader } from "hyparquet";
import { ByteWriter, type ParquetWriter } from "hyparquet-writer";
import { writePageHeader } from "hyparquet-writer/src/datapage.js";
import * as Thrift from "./Thrift.ts";

const DICTIONARY_PAGE = 2;

/** A column of a row group as the writer made it, and the places of its pages. */
type Chunk = ParquetWriter["pendingIndexes"][number];

type WriteGroup = (group: Parameters<ParquetWriter["write"]>[0]) => void;

const { numberIn, structIn } = Thrift;

/** Make a function that writes row groups in the place of `parquet.write`. Memory: the pages of a row group. */
export const groupWriter = (parquet: ParquetWriter, to: ByteWriter): WriteGroup => {
  const { codec } = parquet;
  const pages = new ByteWriter();
  const body = new ByteWriter();

  /** Lay a data page out as in version 1. The bytes are reused for the next one. */
  const bodyOf = (page: Uint8Array, data: Thrift.Struct): Uint8Array => {
    body.index = 0;
    let at = 0;
    const [ofRepetitions, ofDefinitions] = [numberIn(data, 6), numberIn(data, 5)];
    for (const length of [ofRepetitions, ofDefinitions]) {
      if (length === 0) continue;
      body.appendUint32(length);
      body.appendBytes(page.subarray(at, at += length));
    }
    body.appendBytes(page.subarray(at));
    return body.getBytes();
  };

  /** Write a page. Gives its length before compression, its header included. */
  const writePage = (
    bytes: Uint8Array,
    header: Omit<PageHeader, "uncompressed_page_size" | "compressed_page_size">,
  ): number => {
    const begin = to.offset;
    const packed = parquet.compressors[codec]?.(bytes) ?? bytes;
    const sizes = { uncompressed_page_size: bytes.length, compressed_page_size: packed.length };
    writePageHeader(to, { ...header, ...sizes });
    const length = to.offset - begin + bytes.length;
    to.appendBytes(packed);
    return length;
  };

  /** Write the pages of a chunk, and correct what is said of it. Gives its length before compression. */
  const writeChunk = ({ chunk, offsetIndex }: Chunk): number => {
    const its = chunk.meta_data!;
    const encoding: Encoding = its.dictionary_page_offset === undefined ? "PLAIN" : "PLAIN_DICTIONARY";
    const from = Number(chunk.file_offset);
    const bytes = pages.getBytes().subarray(from, from + Number(its.total_compressed_size));
    const cursor = { bytes, at: 0 };
    const begin = to.offset;
    const places: Array<number> = [];
    let length = 0;
    let hasLevels = false;
    while (cursor.at < bytes.length) {
      const header = Thrift.struct(cursor);
      const page = Thrift.take(cursor, numberIn(header, 3));
      if (header.get(1) === DICTIONARY_PAGE) {
        const dictionary_page_header = { num_values: numberIn(structIn(header, 7), 1), encoding };
        length += writePage(page, { type: "DICTIONARY_PAGE", dictionary_page_header });
        its.dictionary_page_offset = BigInt(begin);
        continue;
      }
      const data = structIn(header, 8);
      const unpacked = bodyOf(page, data);
      hasLevels ||= unpacked.length > page.length;
      places.push(to.offset);
      length += writePage(unpacked, {
        type: "DATA_PAGE",
        data_page_header: {
          num_values: numberIn(data, 1),
          encoding,
          definition_level_encoding: "RLE",
          repetition_level_encoding: "RLE",
        },
      });
    }
    chunk.file_offset = BigInt(begin);
    its.data_page_offset = BigInt(places[0]!);
    its.codec = codec;
    its.encodings = hasLevels ? [encoding, "RLE"] : [encoding];
    its.encoding_stats &&= its.encoding_stats.map(({ page_type, count }) => ({
      page_type: page_type === "DATA_PAGE_V2" ? "DATA_PAGE" : page_type,
      encoding,
      count,
    }));
    its.total_compressed_size = BigInt(to.offset - begin);
    its.total_uncompressed_size = BigInt(length);
    for (const [i, location] of (offsetIndex?.page_locations ?? []).entries()) {
      location.offset = BigInt(places[i]!);
      location.compressed_page_size = (places[i + 1] ?? to.offset) - places[i]!;
    }
    return length;
  };

  return ({ columnData, ...group }) => {
    const known = parquet.pendingIndexes.length;
    pages.index = pages.offset = 0;
    parquet.writer = pages;
    parquet.write({ ...group, columnData: columnData.map((its) => ({ ...its, codec: "UNCOMPRESSED" })) });
    parquet.writer = to;
    const begin = to.offset;
    const lengths = parquet.pendingIndexes.slice(known).map(writeChunk);
    const written = parquet.row_groups.at(-1)!;
    written.total_byte_size = BigInt(lengths.reduce((sum, length) => sum + length, 0));
    written.total_compressed_size = BigInt(to.offset - begin);
  };
};
