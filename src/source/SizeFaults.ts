/** Failures of a request, as far as a page of another size may do. */
import { type ApiError, isTransient } from "../api/ApiError.ts";
import type { SizeFault } from "./paging/PrefetchReader.ts";

export const of = (error: ApiError): SizeFault => {
  switch (error.reason) {
    case "Unprocessable":
    case "BadRequest":
      return "refused";
    case "TooLarge":
    case "Timeout":
      return "heavy";
    default:
      return isTransient(error) && error.reason !== "RateLimited" ? "transient" : undefined;
  }
};
