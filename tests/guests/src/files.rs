//! The worker's own file system, through the standard library.
wit_bindgen::generate!({ inline: r#"
package test:files;

interface api {
    write-file: func(path: string, contents: string) -> result<_, string>;
    append: func(path: string, contents: string) -> result<_, string>;
    read-file: func(path: string) -> result<string, string>;
    /// Names in the order in which the host lists them.
    list-dir: func(path: string) -> result<list<string>, string>;
    rename: func(%from: string, to: string) -> result<_, string>;
    remove: func(path: string) -> result<_, string>;
    hard-link: func(%from: string, to: string) -> result<_, string>;
    symlink: func(target: string, link: string) -> result<_, string>;
    read-link: func(link: string) -> result<string, string>;
    create-dir: func(path: string) -> result<_, string>;
    remove-dir: func(path: string) -> result<_, string>;
    /// Size in bytes; modification and access time in nanoseconds since the Unix epoch.
    info: func(path: string) -> result<tuple<u64, u64, u64>, string>;
    set-times: func(path: string, modified-ns: u64, accessed-ns: u64) -> result<_, string>;
    set-size: func(path: string, size: u64) -> result<_, string>;
    exists: func(path: string) -> bool;
}

world guest {
    export api;
}
"# });

use exports::test::files::api::Guest;
use std::ffi::{CString, c_char, c_int};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct Files;
export!(Files);

type Outcome<T = ()> = Result<T, String>;

fn text(e: std::io::Error) -> String {
    e.to_string()
}

fn ns(t: std::io::Result<SystemTime>) -> Outcome<u64> {
    let since = t.map_err(text)?.duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    Ok(since.as_nanos() as u64)
}

// The standard library has no stable function for this on WASI.
unsafe extern "C" {
    fn symlink(target: *const c_char, link: *const c_char) -> c_int;
}

impl Guest for Files {
    fn write_file(path: String, contents: String) -> Outcome {
        fs::write(path, contents).map_err(text)
    }

    fn append(path: String, contents: String) -> Outcome {
        let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(text)?;
        file.write_all(contents.as_bytes()).map_err(text)
    }

    fn read_file(path: String) -> Outcome<String> {
        fs::read_to_string(path).map_err(text)
    }

    fn list_dir(path: String) -> Outcome<Vec<String>> {
        let entries = fs::read_dir(path).map_err(text)?;
        entries.map(|e| Ok(e.map_err(text)?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn rename(from: String, to: String) -> Outcome {
        fs::rename(from, to).map_err(text)
    }

    fn remove(path: String) -> Outcome {
        fs::remove_file(path).map_err(text)
    }

    fn hard_link(from: String, to: String) -> Outcome {
        fs::hard_link(from, to).map_err(text)
    }

    fn symlink(target: String, link: String) -> Outcome {
        let (target, link) = (CString::new(target).unwrap(), CString::new(link).unwrap());
        match unsafe { symlink(target.as_ptr(), link.as_ptr()) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().to_string()),
        }
    }

    fn read_link(link: String) -> Outcome<String> {
        Ok(fs::read_link(link).map_err(text)?.to_string_lossy().into_owned())
    }

    fn create_dir(path: String) -> Outcome {
        fs::create_dir(path).map_err(text)
    }

    fn remove_dir(path: String) -> Outcome {
        fs::remove_dir(path).map_err(text)
    }

    fn info(path: String) -> Outcome<(u64, u64, u64)> {
        let m = fs::metadata(path).map_err(text)?;
        Ok((m.len(), ns(m.modified())?, ns(m.accessed())?))
    }

    fn set_times(path: String, modified_ns: u64, accessed_ns: u64) -> Outcome {
        let at = |ns| UNIX_EPOCH + Duration::from_nanos(ns);
        let file = OpenOptions::new().write(true).open(path).map_err(text)?;
        file.set_times(FileTimes::new().set_modified(at(modified_ns)).set_accessed(at(accessed_ns)))
            .map_err(text)
    }

    fn set_size(path: String, size: u64) -> Outcome {
        let file: File = OpenOptions::new().write(true).open(path).map_err(text)?;
        file.set_len(size).map_err(text)
    }

    fn exists(path: String) -> bool {
        fs::exists(path).unwrap_or(false)
    }
}
