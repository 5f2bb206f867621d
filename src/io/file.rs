//! Files: opened only where they are regular ones, replaced only as a whole.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Opens a regular file to read; its length with it. `what` is what it should hold, for messages.
pub(crate) fn open(path: &Path, what: &str) -> Result<(File, u64)> {
    let failed = |e| Error::io(path, what, e);
    // Asked before opening: to open a pipe may wait forever.
    regular(path, &fs::metadata(path).map_err(failed)?, what)?;
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

fn regular(path: &Path, metadata: &Metadata, what: &str) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let found = if metadata.is_dir() { "a directory" } else { "a device or pipe" };
    Err(Error::malformed(path, None, what, found))
}

/// Writes a file so that whoever reads `path`, at any moment and after any crash, finds the old contents or the new
/// ones, never a part.
///
/// `write` fills a temporary file in the same folder, `.NAME.PROCESS-NUMBER.tmp`; it is forced to the disk and renamed.
/// An existing file's permissions are kept, and a symbolic link goes on pointing where it did.
///
/// ```
/// use std::io::Write;
/// # let path = std::env::temp_dir().join(format!("wengert-doc-atomic-{}", std::process::id()));
/// wengert::io::write_atomically(&path, |file| file.write_all(b"epoch 7"))?;
/// assert_eq!(std::fs::read(&path)?, b"epoch 7");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the file cannot be written, or `path` is there and is not a regular file. What was there before is still there.
pub fn write_atomically(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    const WHAT: &str = "a file to write to";
    let path = path.as_ref();
    let failed = |e| Error::io(path, WHAT, e);
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = match fs::metadata(&target) {
        Ok(metadata) => {
            regular(path, &metadata, WHAT)?;
            Some(metadata)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(e)),
    };
    let (mut temporary, file) = Temporary::beside(&target).map_err(failed)?;
    let filled = || -> io::Result<()> {
        let mut buffer = BufWriter::with_capacity(1 << 16, file);
        write(&mut buffer)?;
        let file = buffer.into_inner().map_err(|e| e.into_error())?;
        if let Some(before) = before {
            file.set_permissions(before.permissions())?;
        }
        file.sync_all()
    };
    filled().map_err(failed)?;
    fs::rename(&temporary.path, &target).map_err(failed)?;
    temporary.renamed = true;
    // The rename is in the folder, which has a cache of its own; some file systems cannot force it, and need not.
    if let Ok(folder) = File::open(folder(&target)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that is removed again unless it was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn beside(target: &Path) -> io::Result<(Temporary, File)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = folder(target).join(format!(".{name}.{}-{number}.tmp", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Temporary { path, renamed: false }, file)),
                // What a killed process of the same number has left.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::test_dir;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_fails_or_panics_leaves_the_old_file_and_nothing_else() {
        let dir = test_dir("atomic");
        let path = dir.join("kept");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        let message = failed.unwrap_err().to_string();
        assert!(message.ends_with("kept: expected a file to write to, found: disk full"), "{message}");
        let panicked = std::panic::catch_unwind(|| write_atomically(&path, |_| panic!("stop")));
        assert!(panicked.is_err());
        assert_eq!((fs::read(&path).unwrap(), names(&dir)), (b"old".to_vec(), vec!["kept".to_string()]));
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(&dir)), (b"new".to_vec(), vec!["kept".to_string()]));
    }

    #[test]
    fn a_reader_never_sees_a_part() {
        let path = test_dir("atomic-readers").join("file");
        let contents = |i: u8| vec![i; 100_000];
        write_atomically(&path, |file| file.write_all(&contents(0))).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                (0..8).for_each(|i| write_atomically(&path, |file| file.write_all(&contents(i))).unwrap());
            });
            while !writer.is_finished() {
                let read = fs::read(&path).unwrap();
                assert!(read.len() == 100_000 && read.iter().all(|&b| b == read[0]));
            }
        });
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let dir = test_dir("atomic-directory");
        let message = write_atomically(&dir, |_| Ok(())).unwrap_err().to_string();
        assert!(message.ends_with(": expected a file to write to, found a directory"), "{message}");
        let message = write_atomically(dir.join("no/such/folder"), |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("folder: expected a file to write to, found: "), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_goes_on_pointing_and_permissions_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = test_dir("atomic-link");
        let (file, link) = (dir.join("file"), dir.join("link"));
        fs::write(&file, b"old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let _ = fs::remove_file(&link);
        symlink("file", &link).unwrap();
        write_atomically(&link, |file| file.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(open(Path::new("/dev/null"), "a table").unwrap_err().to_string().ends_with("found a device or pipe"));
    }
}
