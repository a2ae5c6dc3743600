/** What a thread of a bundle loads. */
import "monocloud-sessions/thread/worker";
