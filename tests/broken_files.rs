//! No file, however broken, makes a reader panic, hang, change a model half-way or allocate more than the file could need.
#![allow(unsafe_code, reason = "an allocator that counts; each block states why it is sound")]

use safetensors::SafeTensors;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use wengert::data::image::{read_png, write_png};
use wengert::data::{LabelledImages, Mnist, read_idx, write_idx};
use wengert::nn::{Buffer, Counter, Linear, Module, Slot, Walk, WalkMut};
use wengert::{Error, Tensor, io};

/// Remembers the largest allocation of each thread and the sum of all.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    LARGEST.set(LARGEST.get().max(bytes));
    TOTAL.set(TOTAL.get() + bytes);
}

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Room for paths, messages and the buffer of a reader, whatever the file.
const SLACK: usize = 16 << 10;
/// Room besides that for the state of a gzip decoder and its first steps.
const GZIP_SLACK: usize = 256 << 10;

/// Runs `f`, which reads a file of `length` bytes: no allocation may be larger, and all together may not be much larger.
fn bounded<R>(length: usize, slack: usize, f: impl FnOnce() -> R) -> R {
    LARGEST.set(0);
    TOTAL.set(0);
    let result = f();
    let (largest, total) = (LARGEST.get(), TOTAL.get());
    assert!(largest <= length + slack, "an allocation of {largest} bytes for a file of {length}");
    assert!(total <= 4 * length + 4 * slack, "allocations of {total} bytes for a file of {length}");
    result
}

fn dir(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("wengert-broken-{}-{test}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A new file with these bytes. To cut an old one to nothing instead makes some file systems wait for the disk.
fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let _ = fs::remove_file(&path);
    fs::write(path, bytes).unwrap();
}

/// The message of an error about this file, without the path in front, which every message must have.
fn message<T>(path: &Path, result: Result<T, Error>) -> String {
    let message = result.err().expect("an error").to_string();
    message.strip_prefix(&format!("{}: ", path.display())).expect("the message names the file").to_string()
}

struct Net {
    fc: Linear,
    mean: Buffer,
    seen: Counter,
}

impl Module for Net {
    fn visit(&self, walk: &mut Walk) {
        walk.child("fc", &self.fc);
        walk.state("running_mean", Slot::Buffer(&self.mean));
        walk.state("num_batches_tracked", Slot::Counter(&self.seen));
    }
    fn visit_mut(&mut self, walk: &mut WalkMut) {
        walk.child("fc", &mut self.fc);
    }
}

fn net() -> Net {
    Net { fc: Linear::new(3, 2), mean: Buffer::new(Tensor::randn([2])), seen: Counter::default() }
}

/// Everything in a model, as text.
fn image(net: &Net) -> String {
    format!("{:?}", io::state(net))
}

/// The bytes of a file with a tensor of every type and metadata.
fn small_file(dir: &Path) -> Vec<u8> {
    let mut tensors = io::state(&net());
    tensors.push(("extra.mask".into(), Tensor::from([true, false, true]).into()));
    tensors.push(("extra.pixels".into(), Tensor::from([0_u8, 255]).into()));
    tensors.push(("extra.wide".into(), Tensor::from([[0.1_f64], [2.0]]).into()));
    tensors.push(("extra.none".into(), Tensor::zeros([0, 3]).into()));
    let metadata = BTreeMap::from([("format".to_string(), "pt\n".to_string())]);
    io::save_tensors(dir.join("intact"), &tensors, &metadata).unwrap();
    fs::read(dir.join("intact")).unwrap()
}

/// A safetensors file with this header and `data` zeros behind it.
fn with_header(path: &Path, header: &str, data: usize) {
    let length = header.len() as u64;
    put(path, [&length.to_le_bytes(), header.as_bytes(), &vec![0; data]].concat());
}

/// Reads the file in every way: the model is as before unless it was loaded.
fn read_in_every_way(path: &Path, length: usize, net: &mut Net) -> Result<io::TensorFile, Error> {
    let before = image(net);
    let options = io::LoadOptions { strict: false, ..Default::default() };
    if bounded(length, SLACK, || io::load_with(path, net, options)).is_err() {
        assert_eq!(image(net), before, "a load that fails changes nothing");
    }
    bounded(length, SLACK, || io::load_tensors(path))
}

#[test]
fn a_changed_byte_of_a_safetensors_file_is_an_error_or_another_valid_file() {
    let dir = dir("flip");
    let (intact, path, mut net) = (small_file(&dir), dir.join("changed"), net());
    let (mut valid, mut broken) = (0, 0);
    for place in 0..intact.len() {
        let flips = (0..8).map(|bit| intact[place] ^ 1 << bit);
        for byte in flips.chain(*b"\"{}[]:,09aF \\\0\xff").filter(|&byte| byte != intact[place]) {
            let mut bytes = intact.clone();
            bytes[place] = byte;
            put(&path, &bytes);
            let ours = read_in_every_way(&path, bytes.len(), &mut net);
            let theirs = SafeTensors::deserialize(&bytes);
            match ours {
                Ok(file) => {
                    valid += 1;
                    let theirs = theirs.unwrap_or_else(|e| {
                        panic!("byte {place} as {byte}: read, but the format's own reader says: {e}")
                    });
                    assert_eq!(file.tensors.len(), theirs.len());
                    for (name, tensor) in &file.tensors {
                        assert_eq!(tensor.shape(), theirs.tensor(name).unwrap().shape(), "byte {place} as {byte}");
                    }
                }
                Err(error) => {
                    broken += 1;
                    // What the format allows and we do not: names that stand twice, types without a tensor of ours.
                    let ours_only = matches!(error, Error::KeyDtype { .. } | Error::DuplicateKeys { .. })
                        || error.to_string().contains("0 or 1, a truth value");
                    assert!(theirs.is_err() || ours_only, "byte {place} as {byte}: {error}");
                }
            }
        }
    }
    assert!(valid > 100 && broken > 1000, "{valid} valid, {broken} broken");
}

#[test]
fn a_safetensors_file_of_another_length_is_an_error() {
    let dir = dir("length");
    let (intact, path, mut net) = (small_file(&dir), dir.join("cut"), net());
    for length in 0..intact.len() {
        put(&path, &intact[..length]);
        message(&path, read_in_every_way(&path, length, &mut net));
    }
    for more in [1, 4, 8, 100_000] {
        put(&path, [&intact[..], &vec![0; more]].concat());
        let message = message(&path, read_in_every_way(&path, intact.len() + more, &mut net));
        assert!(message.contains("bytes of tensors up to the end, found"), "{message}");
    }
}

#[test]
fn a_header_that_lies_is_an_error_that_says_where_and_what() {
    let path = dir("header").join("lies");
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        )
    };
    let cases = [
        ("".into(), "at byte 8: expected a header, which begins with a brace, found the end of the header"),
        ("[1]".into(), "at byte 8: expected a header, which begins with a brace, found '['"),
        ("NaN".into(), "at byte 8: expected a header, which begins with a brace, found 'N'"),
        ("{} {}".into(), "at byte 11: expected the end of the header, found '{'"),
        (tensor("Q8", "[2]", "[0,2]"), "at byte 22: expected an element type, such as F32, found \"Q8\""),
        (tensor("F32", "[NaN]", "[0,4]"), "at byte 37: expected a size, found 'N'"),
        (tensor("F32", "[-1]", "[0,4]"), "at byte 37: expected a size, found '-'"),
        (tensor("F32", "[1.0]", "[0,4]"), "at byte 38: expected a comma or a closing bracket, found '.'"),
        (tensor("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "at byte 53: expected at most 8 dimensions, found one more"),
        (tensor("F32", "[1]", "[0,4,8]"), "at byte 55: expected two offsets, found 3"),
        (
            tensor("F32", "[3]", "[0,4]"),
            "at byte 9: expected 12 bytes for \"x\" of type F32 and shape [3], found data_offsets [0, 4]",
        ),
        (
            tensor("F32", "[1]", "[8,4]"),
            "at byte 9: expected 4 bytes for \"x\" of type F32 and shape [1], found data_offsets [8, 4]",
        ),
        (
            tensor("F4", "[3]", "[0,1]"),
            "at byte 9: expected a size that can be addressed for \"x\" of type F4 and shape [3], found data_offsets [0, 1]",
        ),
        (
            tensor("F32", "[4294967296,4294967296]", "[0,4]"),
            "at byte 9: expected a size that can be addressed for \"x\" of type F32 and shape [4294967296, 4294967296], \
             found data_offsets [0, 4]",
        ),
        (
            tensor("F32", "[0,9223372036854775807,2]", "[0,0]"),
            "at byte 9: expected a size that can be addressed for \"x\" of type F32 and shape \
             [0, 9223372036854775807, 2], found data_offsets [0, 0]",
        ),
        (
            tensor("U8", "[1000000000000000000]", "[0,1000000000000000000]"),
            "at byte 97: expected 1000000000000000000 bytes of tensors up to the end, found 8",
        ),
        (
            tensor("U8", "[8]", "[18446744073709551608,18446744073709551615]"),
            "at byte 9: expected 8 bytes for \"x\" of type U8 and shape [8], \
             found data_offsets [18446744073709551608, 18446744073709551615]",
        ),
        (
            tensor("U8", "[7]", "[18446744073709551608,18446744073709551615]"),
            "at byte 9: expected x to begin at 0, where the tensor before it ends, found 18446744073709551608",
        ),
        (two("[0,4]", "[2,6]"), "at byte 61: expected b to begin at 4, where the tensor before it ends, found 2"),
        (two("[0,4]", "[0,4]"), "at byte 61: expected b to begin at 4, where the tensor before it ends, found 0"),
        (two("[0,4]", "[5,9]"), "at byte 61: expected b to begin at 4, where the tensor before it ends, found 5"),
        (two("[4,8]", "[1,5]"), "at byte 61: expected b to begin at 0, where the tensor before it ends, found 1"),
        (
            tensor("U8", "[8]", "[0,8]").replace("}}", ",\"x\":1}}"),
            "at byte 60: expected one of dtype, shape, data_offsets, found \"x\"",
        ),
        (
            tensor("U8", "[8]", "[0,8]").replace("}}", ",\"shape\":[8]}}"),
            "at byte 60: expected shape once, found it a second time",
        ),
        (
            r#"{"x":{"dtype":"U8","shape":[8]}}"#.into(),
            "at byte 9: expected dtype, shape and data_offsets of \"x\", found not all of them",
        ),
        (r#"{"__metadata__":{"a":1}}"#.into(), "at byte 29: expected a text, found '1'"),
        (r#"{"__metadata__":{"a":"","a":""}}"#.into(), "at byte 32: expected \"a\" once, found it a second time"),
        (
            tensor("U8", "[8]", "[0,8]").replace("\"x\"", "\"\\u0000\\ud83d\""),
            "at byte 22: expected the second half of a surrogate pair, found '\"'",
        ),
    ];
    let cases: Vec<(String, &str)> = cases.into();
    let found = cases.iter().map(|(header, _)| {
        with_header(&path, header, 8);
        message(&path, bounded(header.len() + 16, SLACK, || io::load_tensors(&path)))
    });
    let found: Vec<String> = found.collect();
    let wrong: Vec<_> = cases.iter().zip(&found).filter(|((_, expected), found)| expected != found).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_header_of_impossible_length_is_refused_before_allocating() {
    let path = dir("claim").join("claim");
    for claim in [3_u64, 1 << 20, 1 << 40, u64::MAX - 7, u64::MAX] {
        put(&path, [&claim.to_le_bytes()[..], b"{}"].concat());
        let message = message(&path, bounded(10, SLACK, || io::load_tensors(&path)));
        assert_eq!(message, format!("at byte 0: expected a header of at most 2 bytes, found {claim}"));
    }
}

#[test]
fn a_name_that_stands_twice_is_an_error_that_lists_the_names() {
    let path = dir("twice").join("twice");
    // Of size 0, so that the places agree; the second time with an escape.
    let tensor = |name: &str| format!(r#""{name}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let names = ["fc.weight", "fc.bias", "fc.w\\u0065ight", "free", "fc.bias", "fc.bias"];
    with_header(&path, &format!("{{{}}}", names.map(tensor).join(",")), 0);
    let expected = "expected every key once, found more than one fc.bias, fc.weight";
    assert_eq!(message(&path, io::load_tensors(&path)), expected);
    assert_eq!(message(&path, io::load(&path, &mut net())), expected);
    let twice = [("a", Tensor::zeros([1]).into()), ("a", Tensor::zeros([2]).into())];
    let saved = io::save_tensors(path.with_file_name("new"), &twice, &BTreeMap::new());
    assert!(matches!(saved, Err(Error::DuplicateKeys { keys, .. }) if keys == ["a"]));
    assert!(!path.with_file_name("new").exists());
}

#[test]
fn a_header_of_nothing_but_tensors_takes_memory_in_proportion() {
    let path = dir("many").join("many");
    let tensors: Vec<_> =
        (0..20_000).map(|i| format!(r#""{i:x}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#, i + 1)).collect();
    let header = format!("{{{}}}", tensors.join(","));
    with_header(&path, &header, tensors.len() - 1);
    let length = header.len() + 7 + tensors.len();
    assert!(message(&path, bounded(length, SLACK, || io::load_tensors(&path))).contains("found 19999"));
    let options = io::LoadOptions { strict: false, prefix: "model." };
    with_header(&path, &header, tensors.len());
    bounded(length + 1, SLACK, || io::load_with(&path, &mut net(), options)).unwrap();
    // Brackets without end must not become a recursion without end.
    let brackets = "[".repeat(1 << 20);
    with_header(&path, &format!(r#"{{"x":{{"shape":{brackets}"#), 0);
    assert!(message(&path, bounded(brackets.len(), SLACK, || io::load_tensors(&path))).contains("expected a size"));
}

#[test]
fn a_file_for_another_model_is_an_error_that_names_what_does_not_fit() {
    let dir = dir("other");
    let path = dir.join("other");
    type Tensors = Vec<(String, io::AnyTensor)>;
    let check = |change: &dyn Fn(&mut Tensors), expected: &str| {
        let mut tensors = io::state(&net());
        change(&mut tensors);
        io::save_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
        let mut net = net();
        let before = image(&net);
        assert_eq!(message(&path, io::load(&path, &mut net)), expected);
        assert_eq!(image(&net), before);
    };
    check(&|x| drop(x.drain(..2)), "expected fc.weight, fc.bias, found no such key");
    let more = |name: &str| (name.to_string(), Tensor::zeros([1]).into());
    check(&|x| x.extend(["b", "a"].map(more)), "expected no key besides the model's, found b, a");
    check(&|x| x[0].1 = Tensor::zeros([3, 2]).into(), "at fc.weight: expected shape [2, 3], found [3, 2]");
    check(&|x| x[1].1 = Tensor::zeros([2, 1]).into(), "at fc.bias: expected shape [2], found [2, 1]");
    check(&|x| x[2].1 = Tensor::from([1_i64, 2]).into(), "at running_mean: expected elements of type f32, found I64");
    check(
        &|x| x[3].1 = Tensor::from(1.0_f32).into(),
        "at num_batches_tracked: expected elements of type i64, found F32",
    );
    check(&|x| x[3].1 = Tensor::from([1_i64]).into(), "at num_batches_tracked: expected shape [], found [1]");
}

#[test]
fn a_model_with_one_name_for_two_parts_is_neither_saved_nor_loaded() {
    struct Twins(Linear, Linear);
    impl Module for Twins {
        fn visit(&self, walk: &mut Walk) {
            walk.child("fc", &self.0);
            walk.child("fc", &self.1);
        }
        fn visit_mut(&mut self, walk: &mut WalkMut) {
            walk.child("fc", &mut self.0);
            walk.child("fc", &mut self.1);
        }
    }
    let dir = dir("twins");
    let mut twins = Twins(Linear::new(1, 1), Linear::new(1, 1));
    let expected = "expected every key once, found more than one fc.bias, fc.weight";
    assert_eq!(message(&dir.join("twins"), io::save(dir.join("twins"), &twins)), expected);
    small_file(&dir);
    assert_eq!(message(&dir.join("intact"), io::load(dir.join("intact"), &mut twins)), expected);
}

#[test]
fn what_is_no_regular_file_is_an_error() {
    let dir = dir("no-file");
    let missing = dir.join("missing");
    for path in [&missing, &dir] {
        message(path, io::load_tensors(path));
        message(path, io::load(path, &mut net()));
        message(path, read_idx(path));
    }
    assert!(matches!(io::load_tensors(&missing), Err(Error::Io { .. })));
    assert_eq!(message(&dir, io::load_tensors(&dir)), "expected a safetensors file, found a directory");
    assert_eq!(message(&dir, io::save(&dir, &net())), "expected a file to write to, found a directory");
    #[cfg(unix)]
    for device in ["/dev/null", "/dev/zero"].map(Path::new) {
        assert_eq!(message(device, io::load_tensors(device)), "expected a safetensors file, found a device or pipe");
        assert_eq!(message(device, io::save(device, &net())), "expected a file to write to, found a device or pipe");
    }
}

#[test]
fn a_broken_idx_or_gzip_file_is_an_error_or_another_valid_file() {
    let dir = dir("idx");
    let pixels: Vec<u8> = (0..2 * 3 * 4).map(|i| i * 10).collect();
    for name in ["images", "images.gz"] {
        let (path, slack) = (dir.join(name), if name.ends_with("gz") { GZIP_SLACK } else { SLACK });
        write_idx(&path, &[2, 3, 4], &pixels).unwrap();
        let intact = fs::read(&path).unwrap();
        for length in 0..intact.len() {
            put(&path, &intact[..length]);
            message(&path, bounded(length, slack, || read_idx(&path)));
        }
        put(&path, [&intact[..], &[0]].concat());
        message(&path, bounded(intact.len() + 1, slack, || read_idx(&path)));
        for place in 0..intact.len() {
            for bit in 0..8 {
                let mut bytes = intact.clone();
                bytes[place] ^= 1 << bit;
                put(&path, &bytes);
                if let Ok(idx) = bounded(bytes.len(), slack, || read_idx(&path)) {
                    assert_eq!(idx.shape.iter().product::<usize>(), idx.bytes.len());
                }
            }
        }
    }
}

#[test]
fn a_broken_png_file_is_an_error_or_another_valid_file() {
    let path = dir("png").join("picture.png");
    write_png(&path, &Tensor::from_fn([3, 4, 5], |i| (i * 4) as f32 / 255.0)).unwrap();
    let intact = fs::read(&path).unwrap();
    for length in 0..intact.len() {
        put(&path, &intact[..length]);
        message(&path, bounded(length, GZIP_SLACK, || read_png(&path)));
    }
    for place in 0..intact.len() {
        for bit in 0..8 {
            let mut bytes = intact.clone();
            bytes[place] ^= 1 << bit;
            put(&path, &bytes);
            if let Ok(picture) = bounded(bytes.len(), GZIP_SLACK, || read_png(&path)) {
                assert_eq!(picture.shape(), [3, 4, 5]);
            }
        }
    }
    // A header with the right checksum that claims more pixels than the file can hold.
    for (width, height) in [(1_u32, i32::MAX as u32), (i32::MAX as u32, 1), (i32::MAX as u32, i32::MAX as u32)] {
        let mut bytes = intact.clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let mut sum = flate2::Crc::new();
        sum.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&sum.sum().to_be_bytes());
        put(&path, &bytes);
        let expected =
            format!("expected {width} x {height} pixels, as the header claims, found a file of {} bytes", bytes.len());
        assert_eq!(message(&path, bounded(bytes.len(), GZIP_SLACK, || read_png(&path))), expected);
    }
}

#[test]
fn labels_that_do_not_go_with_the_images_are_an_error() {
    let dir = dir("labels");
    let (images, labels) = (dir.join("train-images-idx3-ubyte"), dir.join("train-labels-idx1-ubyte"));
    write_idx(&images, &[2, 3, 4], &[7; 24]).unwrap();
    let expected = format!("at byte 4: expected 2 labels (as many as images in {}), found 3", images.display());
    write_idx(&labels, &[3], &[1, 2, 3]).unwrap();
    assert_eq!(message(&labels, LabelledImages::load(&images, &labels)), expected);
    write_idx(&labels, &[2], &[1, 10]).unwrap();
    let expected = "at byte 9: expected a label from 0 to 9, found 10";
    assert_eq!(message(&labels, LabelledImages::load(&images, &labels)), expected);
    assert_eq!(message(&labels, Mnist::load(&dir)), expected);
    let swapped = "at byte 3: expected 3 dimensions: images, rows, columns, found 1 with shape [2]";
    assert_eq!(message(&labels, LabelledImages::load(&labels, &images)), swapped);
    io::save_tensors(&images, &[("x", Tensor::zeros([2]).into())], &BTreeMap::new()).unwrap();
    assert!(message(&images, read_idx(&images)).contains("expected 00 00, as every IDX file begins"));
}
