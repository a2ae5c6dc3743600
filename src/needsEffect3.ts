/**
 * The first import of every entry that is typed with Effect: beside no Effect, or beside Effect 4, the error says by the name
 * of this file what is missing.
 *
 * @module
 */
import "effect/Either";
