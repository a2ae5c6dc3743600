/**
 * The places that bytes can go to: a file, a stream of the web, either of them compressed.
 *
 * @module
 */
export { type FileOptions, make as file } from "./FileSink.ts";
export { make as gzip } from "./GzipSink.ts";
export type { OpenSink, Receipt, Sink, SinkError } from "./Sink.ts";
export { make as web } from "./WebSink.ts";
