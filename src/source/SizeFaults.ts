/** Failures of a request, as far as a page of another size may do. */
import type { ApiError } from "../api/ApiError.ts";
import type { SizeFault } from "./paging/PrefetchReader.ts";

export const of = ({ reason }: ApiError): SizeFault => {
  switch (reason) {
    case "Unprocessable":
    case "BadRequest":
      return "refused";
    case "TooLarge":
    case "Timeout":
      return "heavy";
    case "InvalidRequest":
    case "Unauthorized":
    case "PaymentRequired":
    case "NotFound":
    case "RateLimited":
      return undefined;
    // A gateway may answer a large request in whatever way.
    default:
      return "transient";
  }
};
